"""Completions: prompts in all their forms, answers whole and streamed."""

from dataclasses import replace

import pytest

from actors.contracts import Delta, LikelyToken, TextPrompt, TokenLogprob, TokenPrompt
from omlx.app import create_app
from tests.fakes.http import events, send
from tests.fakes.services import FakeServices

PATH = "/v1/completions"


def ask(services, prompt="Once", **fields):
    return send(create_app(services), PATH, {"model": "tiny", "prompt": prompt, **fields})


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("Once", TextPrompt("Once")),
        ("", TextPrompt("")),
        (["Once"], TextPrompt("Once")),
        ([1, 2, 3], TokenPrompt((1, 2, 3))),
        ([[1, 2, 3]], TokenPrompt((1, 2, 3))),
    ],
)
def test_one_prompt_in_each_of_its_forms(given, used):
    services = FakeServices()
    assert ask(services, given).status == 200
    assert services.jobs[0].prompt == used


def test_a_whole_answer():
    services = FakeServices((" upon", " a time"))
    body = ask(services, max_tokens=3, logprobs=None, echo=False, best_of=1, suffix="").json
    assert body["id"] == services.jobs[0].request_id
    assert body["id"].startswith("cmpl-")
    assert body["object"] == "text_completion"
    assert body["choices"] == [{"index": 0, "text": " upon a time", "logprobs": None, "finish_reason": "stop"}]
    assert body["usage"]["total_tokens"] == 8
    assert services.jobs[0].max_tokens == 3


def test_a_streamed_answer():
    answer = ask(FakeServices(("", " upon", " a time")), stream=True, stream_options={"include_usage": True})
    *chunks, usage, done = events(answer.body)
    assert done == "[DONE]"
    assert [chunk["choices"][0]["text"] for chunk in chunks] == [" upon", " a time", ""]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, "stop"]
    assert {chunk["object"] for chunk in chunks} == {"text_completion"}
    assert usage["usage"]["completion_tokens"] == 4


def likely(text, logprob, data=None):
    return LikelyToken(text, tuple(text.encode() if data is None else data), logprob)


SAID = (
    Delta("", "", 1, logprobs=(TokenLogprob(likely(" \ufffd", -0.5, b" \xf0\x9f"), (likely("a", -0.25), likely(" b", -0.75))),)),
    Delta("", " \U0001f600!", 1, logprobs=(TokenLogprob(likely("\ufffd!", -0.1, b"\x98\x80!"), (likely("c", -2.0),)),)),
    Delta("", " end", 1, logprobs=(TokenLogprob(LikelyToken(" end", None, -3.0)),)),
)
LOGPROBS = {
    "tokens": [" \ufffd", "\ufffd!", " end"],
    "token_logprobs": [-0.5, -0.1, -3.0],
    "top_logprobs": [{" \ufffd": -0.5, "a": -0.25, " b": -0.75}, {"\ufffd!": -0.1, "c": -2.0}, {" end": -3.0}],
    "text_offset": [0, 2, 3],
}


def test_logprobs_of_a_whole_answer():
    services = FakeServices(SAID)
    (choice,) = ask(services, logprobs=2).json["choices"]
    assert services.jobs[0].sampling.logprobs == 2
    assert choice["text"] == " \U0001f600! end"
    assert choice["logprobs"] == LOGPROBS


def test_logprobs_of_a_stream_go_on_where_they_were():
    *chunks, _done = events(ask(FakeServices(SAID), stream=True, logprobs=0).body)
    choices = [chunk["choices"][0] for chunk in chunks]
    assert [choice["text"] for choice in choices] == ["", " \U0001f600!", " end", ""]
    assert choices[-1]["logprobs"] is None
    for name, expected in LOGPROBS.items():
        assert [item for choice in choices[:-1] for item in choice["logprobs"][name]] == expected


def test_logprobs_of_streamed_choices_go_on_each_where_it_was():
    script = [replace(delta, index=index) for delta in SAID for index in (1, 0)]
    *chunks, _done = events(ask(FakeServices(script), stream=True, logprobs=0, n=2).body)
    for index in range(2):
        choices = [chunk["choices"][0] for chunk in chunks if chunk["choices"][0]["index"] == index]
        assert [item for choice in choices[:-1] for item in choice["logprobs"]["text_offset"]] == [0, 2, 3]
        assert choices[-1]["finish_reason"] == "stop"


def test_as_many_texts_as_asked_for():
    services = FakeServices((*SAID, "."))
    body = ask(services, n=2, best_of=2, logprobs=2).json
    assert services.jobs[0].n == 2
    assert [(choice["index"], choice["text"]) for choice in body["choices"]] == [(0, " \U0001f600! end."), (1, ".")]
    assert [choice["logprobs"]["tokens"] for choice in body["choices"]] == [LOGPROBS["tokens"], []]
    assert body["usage"]["completion_tokens"] == 7


def test_no_logprobs_are_none():
    services = FakeServices()
    ask(services, logprobs=False)
    assert services.jobs[0].sampling.logprobs is None
