"""What a sequence says doesn't depend on who shares its batch, on when they join and leave, or on how its prompt is cut."""

import mlx.core as mx
import pytest
from mlx_lm.models.cache import ConcatenateKVCache, make_prompt_cache

from scheduler.core import EngineCore
from scheduler.kv_cost import KvCost
from scheduler.mlx.cache import kv_cost
from scheduler.mlx.runner import MlxRunner
from scheduler.request import Request
from scheduler.sampling import SamplingParams
from scheduler.scheduler import SchedulerConfig
from tests.mlx.tiny import CONFIGS, VOCABULARY, tiny_model

GREEDY = SamplingParams(temperature=0.0)
PROMPTS = [[(7 * n + 3 * i * i) % VOCABULARY for i in range(length)] for n, length in enumerate((5, 23, 1, 12, 40, 3, 9, 17))]


def reference(model, prompt, count):
    """Greedy decoding in the plainest way: one row, one token a forward, mlx-lm's own caches."""
    cache = make_prompt_cache(model)
    logits = model(mx.array([prompt]), cache=cache)[:, -1, :]
    tokens = []
    for _ in range(count):
        tokens.append(int(mx.argmax(logits, axis=-1).item()))
        logits = model(mx.array([[tokens[-1]]]), cache=cache)[:, -1, :]
    return tokens


def answers(core):
    said = {}
    while core.has_work:
        for event in core.step().events:
            said.setdefault(event.request_id, []).append(event.token)
    return said


def request(n, count=24, sampling=GREEDY):
    return Request(str(n), tuple(PROMPTS[n]), count, frozenset(), sampling)


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("chunk", [1000, 4])
def test_every_row_says_what_it_says_alone(kind, chunk):
    model = tiny_model(kind)
    core = EngineCore(MlxRunner(model), SchedulerConfig(max_num_seqs=5, max_step_tokens=chunk))
    expected = {str(n): reference(model, PROMPTS[n], 10 + 2 * n) for n in range(len(PROMPTS))}
    assert len({tuple(tokens[:8]) for tokens in expected.values()}) > 4  # the model doesn't just babble one thing
    said = {}
    for n in range(len(PROMPTS)):
        core.add(request(n, 10 + 2 * n))  # they end at different steps
        for event in core.step().events:  # and join at different steps
            said.setdefault(event.request_id, []).append(event.token)
    for name, tokens in answers(core).items():
        said.setdefault(name, []).extend(tokens)
    assert said == expected


@pytest.mark.parametrize("kind", CONFIGS)
def test_rows_that_leave_in_the_middle_change_nothing_for_the_others(kind):
    model = tiny_model(kind)
    core = EngineCore(MlxRunner(model), SchedulerConfig(max_num_seqs=8, max_step_tokens=6))
    for n in range(6):
        core.add(request(n))
    said = {}
    for step in range(12):
        for event in core.step().events:
            said.setdefault(event.request_id, []).append(event.token)
        if step in (1, 5, 7):
            core.abort(str(step % 5))
    for name, tokens in answers(core).items():
        said.setdefault(name, []).extend(tokens)
    for name in ("3", "4", "5"):
        assert said[name] == reference(model, PROMPTS[int(name)], 24)


def test_caches_that_cant_be_batched_are_right_by_themselves():
    model = tiny_model("llama")
    model.make_cache = lambda: [ConcatenateKVCache() for _ in model.layers]
    core = EngineCore(MlxRunner(model), SchedulerConfig())
    for n in range(4):
        core.add(request(n))
    assert answers(core) == {str(n): reference(model, PROMPTS[n], 24) for n in range(4)}


def test_a_seed_gives_the_same_tokens_alone_and_in_a_batch():
    model = tiny_model("llama")
    params = SamplingParams(temperature=0.9, top_p=0.8, seed=1234)
    alone = EngineCore(MlxRunner(model), SchedulerConfig())
    alone.add(request(1, sampling=params))
    batched = EngineCore(MlxRunner(model), SchedulerConfig())
    batched.add(request(0))
    batched.step()
    batched.add(request(1, sampling=params))
    batched.add(request(2, sampling=SamplingParams(temperature=2.0, seed=99)))
    said = answers(alone)["1"]
    assert answers(batched)["1"] == said
    assert said != reference(model, PROMPTS[1], 24)


@pytest.mark.parametrize("kind", CONFIGS)
def test_what_is_said_survives_preemption(kind):
    model = tiny_model(kind)
    config = SchedulerConfig(max_num_seqs=8, max_step_tokens=16, kv_cost=KvCost(per_token=1), kv_budget=100)
    core = EngineCore(MlxRunner(model), config)
    for n in range(len(PROMPTS)):
        core.add(request(n))
    assert answers(core) == {str(n): reference(model, PROMPTS[n], 24) for n in range(len(PROMPTS))}
    assert core.stats.preemptions > 0


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_cost_of_a_cache_is_what_it_takes(kind):
    model = tiny_model(kind)
    cost = kv_cost(model)
    for tokens in (1, 7, 8, 100, 256, 257, 300):
        cache = make_prompt_cache(model)
        if tokens > 1:
            model(mx.array([list(range(1, tokens))]) % VOCABULARY, cache=cache)
        model(mx.array([[0]]), cache=cache)  # a window is cut to its size by the first single token
        mx.eval([c.state for c in cache])
        taken = sum(c.nbytes for c in cache)
        assert taken <= cost.of(tokens) <= 2 * taken + 600_000 * (tokens < 256)


def test_no_row_is_left_behind():
    runner = MlxRunner(tiny_model("llama"))
    core = EngineCore(runner, SchedulerConfig(max_step_tokens=2))
    for n in range(4):
        core.add(request(n))
    for _ in range(3):
        core.step()
    for name in core.request_ids():
        core.abort(name)
    core.step()
    assert list(runner._rows.groups()) == []
    assert runner._prompts == {}


def test_a_model_is_kept_from_ending_until_min_tokens():
    model = tiny_model("llama")
    plain = reference(model, PROMPTS[0], 8)
    core = EngineCore(MlxRunner(model), SchedulerConfig())
    core.add(Request("free", tuple(PROMPTS[0]), 8, frozenset(plain[:1]), GREEDY))
    core.add(Request("held", tuple(PROMPTS[0]), 8, frozenset(plain[:1]), GREEDY, min_tokens=4))
    said = answers(core)
    assert said["free"] == plain[:1]
    assert len(said["held"]) >= 4
    assert plain[0] not in said["held"][:4]


def test_penalties_see_the_prompt_and_the_output_alone_and_in_a_batch():
    model = tiny_model("llama")
    params = SamplingParams(temperature=0.0, repetition_penalty=3.0, frequency_penalty=2.0, presence_penalty=2.0)

    def said(*numbers):
        core = EngineCore(MlxRunner(model), SchedulerConfig(max_step_tokens=3))
        for n in numbers:
            core.add(request(n, sampling=params if n == 1 else GREEDY))
        return answers(core)

    batched = said(0, 1, 2)
    assert batched["1"] == said(1)["1"]
    assert batched["0"] == reference(model, PROMPTS[0], 24)
    assert len(set(batched["1"])) > len(set(reference(model, PROMPTS[1], 24)))


def test_logprobs_come_with_the_tokens_of_those_who_ask():
    model = tiny_model("llama")
    core = EngineCore(MlxRunner(model), SchedulerConfig())
    core.add(request(0, 6, SamplingParams(temperature=0.0, logprobs=3)))
    core.add(request(1, 6))
    events = []
    while core.has_work:
        events += core.step().events
    assert all(event.logprobs is None for event in events if event.request_id == "1")
    tokens = [event.token for event in events if event.request_id == "0"]
    logits = model(mx.array([[*PROMPTS[0], *tokens]]))[0, len(PROMPTS[0]) - 1 : -1]
    expected = logits - mx.logsumexp(logits, axis=-1, keepdims=True)
    for n, event in enumerate(event for event in events if event.request_id == "0"):
        assert event.logprobs.token == event.token == event.logprobs.top[0][0]
        assert event.logprobs.logprob == pytest.approx(expected[n, event.token].item(), abs=1e-4)
        assert [value for _, value in event.logprobs.top] == pytest.approx(mx.sort(-expected[n])[:3].__neg__().tolist(), abs=1e-4)
