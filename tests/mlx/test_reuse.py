"""What begins with kept KV says what it says without, and the model sees the fewer tokens."""

import functools
import logging

import mlx.core as mx
import pytest
from mlx_lm.models.cache import (
    CacheList,
    ChunkedKVCache,
    ConcatenateKVCache,
    KVCache,
    QuantizedKVCache,
    RotatingKVCache,
    make_prompt_cache,
)

from actors.engine.loader import _reusable
from scheduler.checkpoints import checkpoints
from scheduler.core import EngineCore
from scheduler.kv_cost import KvCost
from scheduler.mlx import cpu
from scheduler.mlx.cache import kv_cost
from scheduler.mlx.head import look_at_last_position
from scheduler.mlx.packed_runner import PackedRunner
from scheduler.mlx.reuse import can_reuse, copy_kv, is_plain, restore
from scheduler.mlx.runner import MlxRunner
from scheduler.prefix_cache import Hit
from scheduler.request import Request
from scheduler.scheduler import SchedulerConfig
from tests.mlx.test_runner import GREEDY, PROMPTS, reference
from tests.mlx.tiny import CONFIGS, VOCABULARY, tiny_model

PLAIN = {kind for kind in CONFIGS if is_plain(make_prompt_cache(tiny_model(kind)))}
RUNNERS = [(kind, False) for kind in CONFIGS] + [("llama", True), ("moe", True)]
PROMPT = [(11 * i * i + i) % VOCABULARY for i in range(100)]


def common(one, other):
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


@functools.cache
def alone(kind, prompt, count):
    return reference(tiny_model(kind), list(prompt), count)


class Counting:
    """A model that counts the tokens it sees."""

    def __init__(self, model):
        self._model = model
        self.seen = 0

    def __getattr__(self, name):
        return getattr(self._model, name)

    def __call__(self, inputs, cache):
        self.seen += inputs.size
        return self._model(inputs, cache=cache)


class Served:
    """A tiny model behind an engine's core, whose answers are compared with those that it gives alone."""

    def __init__(self, kind, packed=False, **config):
        self.kind = kind
        self.needs_checkpoints = kind not in PLAIN
        model = tiny_model(kind)
        cpu.tune(at_once=False)
        self.model = Counting(model)
        self.runner = PackedRunner(self.model, look_at_last_position(model)) if packed else MlxRunner(self.model)
        config = {"max_step_tokens": 50, "kv_cost": KvCost(per_token=1, fixed=8 * self.needs_checkpoints)} | config
        self.core = EngineCore(self.runner, SchedulerConfig(reuse_kv=True, checkpoints=self.needs_checkpoints, **config))
        self.known = []  # token sequences whose KV was kept, as long as nothing is evicted
        self.checkpoints = []  # those after which there is a checkpoint

    def expected(self, prompt):
        """How many of a prompt's tokens will be cached, if nothing was evicted."""
        fed = prompt[:-1]
        shared = max((common(fed, known) for known in self.known), default=0)
        if not self.needs_checkpoints:
            return shared
        found = max((len(known) for known in self.checkpoints if fed[: len(known)] == known), default=0)
        self.checkpoints += [prompt[:place] for place in checkpoints(len(prompt), Hit(tokens=found, shared=shared), 0)]
        return found

    def ask(self, *prompts, count=20):
        """Ask several at once: (answer, how many of the prompt's tokens were cached) of each. All are checked."""
        for n, prompt in enumerate(prompts):
            self.core.add(Request(str(n), tuple(prompt), count + 3 * n, sampling=GREEDY))
        before = self.model.seen
        said, cached = {}, {}
        while self.core.has_work:
            for event in self.core.step().events:
                said.setdefault(event.request_id, []).append(event.token)
                cached[event.request_id] = event.cached_tokens
            self.core.check_integrity()
        for n, prompt in enumerate(prompts):
            assert said[str(n)] == alone(self.kind, tuple(prompt), count + 3 * n)
            self.known.append([*prompt, *said[str(n)][:-1]])
            self.checkpoints.append(self.known[-1])
        if not self.core.stats.preemptions:
            fed = sum(len(prompt) + count + 3 * n - 1 - cached[str(n)] for n, prompt in enumerate(prompts))
            assert self.model.seen - before == fed
        return [(said[str(n)], cached[str(n)]) for n in range(len(prompts))]

    def ask_one(self, prompt, count=20):
        """Ask one, of whose tokens as many have to be cached as can be: its answer."""
        expected = self.expected(prompt)
        ((said, cached),) = self.ask(prompt, count=count)
        assert cached == expected
        return said


@pytest.mark.parametrize(("kind", "packed"), RUNNERS)
def test_the_next_turn_feeds_what_is_new_of_it(kind, packed):
    served = Served(kind, packed)
    prompt, length = PROMPT[:70], 70
    for _ in range(5):
        said = served.ask_one(prompt)
        length = len(prompt) + len(said) - 1  # the answer's last token was never fed
        prompt = [*prompt, *said, 7, 8, 9]
        ((_, cached),) = served.ask(prompt, count=1)
        assert cached == length


@pytest.mark.parametrize(("kind", "packed"), RUNNERS)
def test_a_prompt_goes_on_from_where_it_differs(kind, packed):
    served = Served(kind, packed)
    served.ask_one(PROMPT)
    for length in (99, 97, 96, 95, 64, 50, 33, 32, 31, 1, 0):
        other = (PROMPT[length] + 1 + length % 3) % VOCABULARY
        served.ask_one([*PROMPT[:length], other, *PROMPTS[4]], count=6)


@pytest.mark.parametrize(("kind", "packed"), RUNNERS)
def test_many_at_once_begin_alike(kind, packed):
    served = Served(kind, packed)
    prompts = [[*PROMPT[: 90 - n], *PROMPTS[n]] for n in range(6)]
    served.ask(*prompts, count=30)
    cached = [cached for _, cached in served.ask(*prompts, count=30)]
    if served.needs_checkpoints:
        assert min(cached) >= 64
    else:
        assert cached == [len(prompt) - 1 for prompt in prompts]


@pytest.mark.parametrize(("kind", "packed"), RUNNERS)
def test_whoever_ended_in_the_middle_of_a_batch_goes_on(kind, packed):
    served = Served(kind, packed, max_num_seqs=5)
    for count in (1, 9, 25):  # within a window, across its end, round it several times
        answers = served.ask(*PROMPTS[:5], count=count)
        for last in (5, 6):  # what was kept is not used up
            turns = [[*prompt, *said, count, last] for prompt, (said, _) in zip(PROMPTS, answers, strict=False)]
            cached = [cached for _, cached in served.ask(*turns, count=3)]
            assert all(n >= len(turn) - 3 for n, turn in zip(cached, turns, strict=True))


@pytest.mark.parametrize(("kind", "packed"), RUNNERS)
def test_what_is_said_is_the_same_while_kv_is_evicted_and_whoever_yielded_goes_on(kind, packed):
    served = Served(kind, packed, max_num_seqs=4, kv_budget=400)
    for turn in range(3):
        served.ask(*([*PROMPT[: 30 * n + 5 * turn], *PROMPTS[n], turn] for n in range(4)), count=60)
    assert served.core.stats.prefix_evictions > 10
    assert served.core.stats.preemptions > 0
    assert served.core.stats.prefix_hits > 100


@pytest.mark.parametrize(("kind", "packed"), RUNNERS)
def test_half_of_a_long_prompt_is_found_wherever_it_parts_and_all_but_a_block_the_next_time(kind, packed):
    served = Served(kind, packed, max_step_tokens=300)
    long = [(13 * i * i + i) % VOCABULARY for i in range(1400)]
    served.ask_one(long, count=3)
    for turn, least in ((0, 512), (1, 1000 - 32)):
        served.ask_one([*long[:1000], (long[1000] + 1 + turn) % VOCABULARY, 5], count=3)
        assert served.core.stats.prefix_hits >= least
        served.core.check_integrity()


@pytest.mark.parametrize(("chunk", "steps"), [(30, 1), (1, 30)])  # a window is fed a token at a time in another way
@pytest.mark.parametrize(("kind", "packed"), RUNNERS)
def test_a_prompt_that_was_given_up_half_way_is_not_fed_again(kind, packed, chunk, steps):
    served = Served(kind, packed, max_step_tokens=chunk)
    served.core.add(Request("gone", tuple(PROMPT[:60]), 5, sampling=GREEDY))
    for _ in range(steps):
        served.core.step()
    served.core.abort("gone")
    ((_, cached),) = served.ask(PROMPT[:60])
    assert cached == chunk * steps


@pytest.mark.parametrize("kind", sorted(set(CONFIGS) - PLAIN))
def test_the_arrays_of_checkpoints_are_counted_and_freed(kind):
    model = tiny_model(kind)
    served = Served(kind, kv_cost=kv_cost(model), max_step_tokens=2000)
    for n in range(4):
        served.ask_one([n, *PROMPT])
    kept, prefixes = served.runner._kept, served.core._scheduler.prefix_cache

    def held():
        segments = {id(place.segment): place.segment for place in kept._places.values()}.values()
        arrays = [array for segment in segments for array in segment.arrays]
        return sum(a.nbytes for a in arrays + [a for state in kept._states.values() for each in state for a in each])

    assert len(kept._states) >= 8
    assert held() == prefixes.bytes
    before = held()
    prefixes.make_room(prefixes.budget)
    served.core.add(Request("another", (5,), 1))
    served.core.step()
    served.core.step()
    assert held() == prefixes.bytes < before / 8


def test_kinds_of_cache_are_told_apart():
    assert {"llama", "moe", "latent"} == PLAIN
    assert all(can_reuse(make_prompt_cache(tiny_model(kind))) for kind in CONFIGS)
    for cache in (QuantizedKVCache(), ChunkedKVCache(8), ConcatenateKVCache(), RotatingKVCache(8, keep=4)):
        assert not can_reuse([KVCache(), cache])
        assert not can_reuse([CacheList(KVCache(), cache)])


def test_the_log_says_which_caches_keep_prompts_from_being_reused(caplog):
    class Model:
        def make_cache(self):
            return [CacheList(KVCache(), ChunkedKVCache(8)), QuantizedKVCache()]

    with caplog.at_level(logging.WARNING):
        assert not _reusable(Model())
    assert "(ChunkedKVCache, QuantizedKVCache)" in caplog.text


def test_a_cache_that_its_model_does_not_use_stays_unused():
    used, unused = KVCache(), KVCache()
    used.update_and_fetch(*[mx.arange(12.0).reshape(1, 1, 6, 2)] * 2)
    kv = copy_kv([unused, used], 0, 0, 4)
    fresh = [KVCache(), KVCache()]
    restore(fresh, kv, [], 4)
    assert fresh[0].empty()
    assert fresh[0].offset == 0
    assert mx.array_equal(fresh[1].keys, used.keys[:, :, :4])
