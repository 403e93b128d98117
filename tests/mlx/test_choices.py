"""Several answers to one prompt are those of as many requests, and the model sees the prompt once."""

from copy import deepcopy

import mlx.core as mx
import pytest
from mlx_lm.models.cache import ArraysCache, CacheList, ConcatenateKVCache, KVCache, RotatingKVCache

from scheduler.core import EngineCore
from scheduler.mlx import cpu
from scheduler.mlx.cache import MergedRows, SeparateRows, arrays
from scheduler.mlx.head import look_at_last_position
from scheduler.mlx.packed_runner import PackedRunner
from scheduler.mlx.runner import MlxRunner
from scheduler.request import Request
from scheduler.sampling import SamplingParams
from scheduler.scheduler import SchedulerConfig
from tests.mlx.test_runner import PROMPTS, answers
from tests.mlx.tiny import CONFIGS, VOCABULARY, tiny_model

PROMPT = tuple((5 * i * i + 3) % VOCABULARY for i in range(43))  # longer than the sliding window
SEEDED = SamplingParams(temperature=0.9, top_p=0.95, seed=1234, logprobs=2)


class Counting:
    """A model that counts the tokens that it is fed."""

    def __init__(self, model):
        self.fed = 0
        self._model = model

    def __call__(self, inputs, cache):
        self.fed += inputs.size
        return self._model(inputs, cache=cache)

    def __getattr__(self, name):
        return getattr(self._model, name)


def merged(kind):
    model = Counting(tiny_model(kind))
    return model, MlxRunner(model)


def separate(kind):
    """Caches that can't be batched: each row has its own."""
    plain = tiny_model(kind)
    plain.make_cache = lambda: [ConcatenateKVCache() for _ in plain.layers]
    model = Counting(plain)
    return model, MlxRunner(model)


def packed(kind):
    model = tiny_model(kind)
    cpu.tune(at_once=False)
    head = look_at_last_position(model)
    model = Counting(model)
    return model, PackedRunner(model, head)


RUNNERS = [*((merged, kind) for kind in CONFIGS), *((packed, kind) for kind in ("llama", "moe")), (separate, "llama")]


def choice(index, sampling, count=20):
    return Request(str(index), PROMPT, count + index, sampling=sampling.for_choice(index))


def alone(make, kind, sampling, n):
    """What each choice says as a request of its own."""
    said = {}
    for index in range(n):
        core = EngineCore(make(kind)[1], SchedulerConfig())
        core.add(choice(index, sampling))
        said |= answers(core)
    return said


@pytest.mark.parametrize(("make", "kind"), RUNNERS)
@pytest.mark.parametrize("chunk", [1000, 4])
def test_seeded_choices_are_those_of_separate_requests_and_share_one_prompt(make, kind, chunk):
    model, runner = make(kind)
    core = EngineCore(runner, SchedulerConfig(max_step_tokens=chunk))
    core.add(*(choice(index, SEEDED) for index in range(3)))
    said = answers(core)
    assert len({tuple(tokens[:20]) for tokens in said.values()}) == 3
    assert said == alone(make, kind, SEEDED, 3)
    generated = sum(len(tokens) - 1 for tokens in said.values())  # the last of each is not fed
    assert model.fed == len(PROMPT) + generated


@pytest.mark.parametrize(("make", "kind"), RUNNERS)
def test_choices_share_the_batch_with_others_that_come_and_go(make, kind):
    _, runner = make(kind)
    core = EngineCore(runner, SchedulerConfig(max_num_seqs=5, max_step_tokens=16))
    said = {}
    core.add(Request("before", tuple(PROMPTS[1]), 9, sampling=SamplingParams(temperature=0.0)))
    core.step()
    core.add(*(choice(index, SEEDED) for index in range(5)))  # one more than there are places
    for step in range(60):
        for event in core.step().events:
            said.setdefault(event.request_id, []).append(event.token)
        if step == 6:
            core.add(Request("after", tuple(PROMPTS[2]), 9, sampling=SamplingParams(temperature=0.0)))
        if step == 8:
            core.abort("1")
    expected = alone(make, kind, SEEDED, 5)
    assert {name: said[name] for name in "0234"} == {name: expected[name] for name in "0234"}
    assert not core.has_work


def first_events(core):
    """Those of the first step that has any: a runner that looks ahead is a step behind."""
    return next(events for events in iter(lambda: core.step().events, None) if events)


@pytest.mark.parametrize(("make", "kind"), RUNNERS)
def test_choices_have_penalties_and_logprobs_of_their_own(make, kind):
    sampling = SamplingParams(temperature=0.9, seed=3, repetition_penalty=2.0, frequency_penalty=1.5, logprobs=1)
    core = EngineCore(make(kind)[1], SchedulerConfig())
    core.add(*(choice(index, sampling) for index in range(3)))
    events = first_events(core)
    assert [event.logprobs.token for event in events] == [event.token for event in events]
    assert len({event.logprobs.top for event in events}) == 1  # the same logits
    said = {event.request_id: [event.token] for event in events}
    for name, tokens in answers(core).items():
        said[name] += tokens
    assert said == alone(make, kind, sampling, 3)


def test_kept_kv_of_a_fork_is_its_own():
    core = EngineCore(packed("llama")[1], SchedulerConfig(reuse_kv=True))
    core.add(*(choice(index, SEEDED, 40) for index in range(3)))
    said = answers(core)
    for turn, fork in (("turn 1", "1"), ("turn 2", "2")):
        prompt = (*PROMPT, *said[fork], 5)
        core.add(Request(turn, prompt, 10, sampling=SamplingParams(temperature=0.0)))
        (got,) = answers(core).values()
        fresh = EngineCore(packed("llama")[1], SchedulerConfig())
        fresh.add(Request(turn, prompt, 10, sampling=SamplingParams(temperature=0.0)))
        assert got == answers(fresh)[turn]
    assert core.stats.prefix_hits == sum(len(PROMPT) + len(said[fork]) - 1 for fork in "12")


def cache_of(kind):
    if kind == "list":
        return CacheList(cache_of("window"), cache_of("state"))
    if kind == "state":
        cache = ArraysCache(2)
        cache[0], cache[1] = mx.arange(6.0).reshape(1, 2, 3), mx.ones((1, 4))
        return cache
    cache = {"plain": KVCache, "window": lambda: RotatingKVCache(8), "concatenated": ConcatenateKVCache}[kind]()
    for length in (11, 1, 1):  # the window has turned
        cache.update_and_fetch(mx.random.normal((1, 2, length, 4)), mx.random.normal((1, 2, length, 4)))
    return cache


def write(cache):
    """What a decode step does to a cache, and more: it changes arrays in place."""
    if isinstance(cache, CacheList):
        for each in cache.caches:
            write(each)
    elif isinstance(cache, ArraysCache):
        cache[0][:, 0] = 99.0
        cache[1] = cache[1] + 1
    else:
        cache.update_and_fetch(mx.full((1, 2, 1, 4), 99.0), mx.full((1, 2, 1, 4), 99.0))


def contents(cache):
    if isinstance(cache, CacheList):
        return [item for each in cache.caches for item in contents(each)]
    state = cache.cache if isinstance(cache, ArraysCache) else cache.state
    return [each.tolist() for each in state if isinstance(each, mx.array)]


@pytest.mark.parametrize("kind", ["plain", "window", "state", "list", "concatenated"])
def test_copies_of_a_cache_dont_see_each_others_changes(kind):
    rows = SeparateRows()
    cache = cache_of(kind)
    mx.eval(arrays([cache]))
    before = contents(cache)
    rows.add(["a", "b"], [cache])
    copies = {ids[0]: caches[0] for ids, caches in rows.groups()}
    write(copies["a"])
    assert contents(copies["b"]) == before
    write(copies["b"])
    assert contents(copies["b"]) == contents(copies["a"]) != before


@pytest.mark.parametrize("kind", ["plain", "window", "state", "list"])
def test_a_cache_makes_equal_rows_of_a_batch(kind):
    together, one_by_one = MergedRows(), MergedRows()
    cache = cache_of(kind)
    together.add(["a"], [cache_of(kind)])
    one_by_one.add(["a"], [cache_of(kind)])
    together.add(["b", "c"], [cache])
    for name in ("b", "c"):
        one_by_one.add([name], [deepcopy(cache)])
    for rows in (together, one_by_one):
        rows.remove(["a"])
    ((ids, caches),) = together.groups()
    ((_, expected),) = one_by_one.groups()
    assert ids == ["b", "c"]
    assert contents(caches[0]) == contents(expected[0])
