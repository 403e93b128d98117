"""A request's own values, the model's defaults for what it leaves out, and OpenAI's for the rest."""

import pytest

from actors.contracts import ChatPrompt
from actors.errors import InvalidJobError
from omlx.api.openai import ChatRequest, CompletionRequest
from omlx.api.translate import chat_job, completion_job
from scheduler.sampling import SamplingParams
from tests.fakes.catalog import served

SAMPLED = {
    "temperature": 0.6,
    "top_p": 0.95,
    "top_k": 20,
    "min_p": 0.05,
    "repetition_penalty": 1.1,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.25,
    "seed": 7,
}
DEFAULTS = {**SAMPLED, "max_tokens": 50, "stop": ("\n\n", "END")}


def job(fields=(), **model):
    return completion_job(CompletionRequest(prompt="Hi", **dict(fields)), served("tiny", **model))


def chat(fields=(), **model):
    return chat_job(ChatRequest(messages=[{"role": "user", "content": "Hi"}], **dict(fields)), served("tiny", **model))


def test_the_models_defaults_hold_where_the_request_says_nothing():
    asked = job(defaults=DEFAULTS)
    assert asked.sampling == SamplingParams(**SAMPLED)
    assert (asked.max_tokens, asked.stop) == (50, ("\n\n", "END"))
    assert chat(defaults=DEFAULTS).sampling == asked.sampling


def test_without_either_openais_hold():
    asked = job()
    assert asked.sampling == SamplingParams(seed=asked.sampling.seed)
    assert (asked.max_tokens, asked.stop, asked.context_window) == (None, (), None)


REQUESTED = {
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "seed": 0,
}


def test_the_requests_values_win_even_if_they_are_openais_defaults():
    asked = job({**REQUESTED, "stop": [], "max_tokens": 9}, defaults=DEFAULTS)
    assert asked.sampling == SamplingParams(**REQUESTED)
    assert (asked.max_tokens, asked.stop) == (9, ())
    assert job({"max_completion_tokens": 8}, defaults=DEFAULTS).max_tokens == 8
    one = job({"temperature": 0}, defaults=DEFAULTS).sampling
    assert (one.temperature, one.top_k) == (0, 20)


def test_null_leaves_it_to_the_model():
    asked = job(dict.fromkeys((*REQUESTED, "stop", "max_tokens", "max_completion_tokens")), defaults=DEFAULTS)
    assert asked.sampling == SamplingParams(**SAMPLED)
    assert (asked.max_tokens, asked.stop) == (50, ("\n\n", "END"))


def test_forced_defaults_win_over_the_request():
    asked = job(
        {"temperature": 2, "top_k": 5, "max_tokens": 9}, defaults=DEFAULTS, forced=frozenset({"temperature", "max_tokens"})
    )
    assert (asked.sampling.temperature, asked.sampling.top_k, asked.max_tokens) == (0.6, 5, 50)
    assert job({"top_p": 0.5}, forced=frozenset({"top_p"})).sampling.top_p == 0.5  # nothing is set that could win


def test_any_default_seed_is_some_unsigned_one():
    assert job(defaults={"seed": -1}).sampling.seed == 2**64 - 1


def test_a_default_that_the_engine_can_not_follow_is_said():
    with pytest.raises(InvalidJobError, match="top_p"):
        job(defaults={"top_p": 0})


def test_the_template_and_its_variables_reach_the_prompt_and_the_requests_own_win():
    model = {"chat_template": "{{ messages }}", "chat_template_kwargs": {"enable_thinking": True, "tone": "dry"}}
    asked = chat({"chat_template_kwargs": {"enable_thinking": False, "more": [1]}}, **model)
    messages = ({"role": "user", "content": "Hi"},)
    assert asked.prompt == ChatPrompt(messages, "{{ messages }}", {"enable_thinking": False, "tone": "dry", "more": [1]})
    assert chat().prompt == ChatPrompt(messages)


def test_the_models_context_window_reaches_the_job():
    assert job(context_window=512).context_window == 512
