"""What is kept is kept in few arrays, read in few pieces, and really freed."""

import random

import mlx.core as mx
import pytest

from scheduler.core import EngineCore
from scheduler.kv_cost import KvCost
from scheduler.mlx.blocks import KeptBlocks
from scheduler.mlx.runner import MlxRunner
from scheduler.prefix_cache import BLOCK_TOKENS, PrefixCache
from scheduler.request import Request, Sequence
from scheduler.scheduler import SchedulerConfig
from scheduler.step import StepPlan
from tests.mlx.test_runner import GREEDY
from tests.mlx.tiny import VOCABULARY, tiny_model

LAYERS, HEADS, SIZE = 3, 2, 64
TOKEN_BYTES = LAYERS * 2 * HEADS * SIZE * 4


class Keeper:
    """A prefix cache and the tensors it speaks of, whose numbers are the tokens that they stand for."""

    def __init__(self, budget_tokens):
        self.cache = PrefixCache(1, budget_tokens)
        self.kept = KeptBlocks()
        self.copies = 0

    def insert(self, tokens):
        """Keep a sequence's tokens: the arrays to be evaluated."""

        def row(request_id):
            def copy(start, stop):
                self.copies += 1
                whole = self.kv(tokens)
                return [mx.contiguous(array[:, :, start:stop]) for array in whole]

            return copy

        return self.update(self.cache.insert(tokens), row)

    def update(self, new, row=None):
        plan = StepPlan(keep=(("row", new),) if new else (), forget=self.cache.take_evicted())
        arrays = self.kept.update(plan, row)
        mx.eval(arrays)
        return arrays

    def kv(self, tokens):
        each = mx.array(tokens, mx.float32)[None, None, :, None]
        return [mx.broadcast_to(each * (1 + n), (1, HEADS, len(tokens), SIZE)) for n in range(2 * LAYERS)]

    def beginning(self, tokens):
        sequence = Sequence(Request("a", tuple(tokens), 1), arrived=0.0)
        sequence.reused = self.cache.lock(tokens)
        kv = self.kept.beginning(sequence)
        self.cache.unlock(sequence.reused)
        return kv

    @property
    def segments(self):
        return {id(place.segment): place.segment for place in self.kept._places.values()}.values()

    @property
    def bytes(self):
        return sum(array.nbytes for segment in self.segments for array in segment.arrays)


def same(kv, expected):
    return len(kv) == len(expected) and all(mx.array_equal(a, b).item() for a, b in zip(kv, expected, strict=True))


def test_what_is_kept_in_one_go_is_one_array_for_keys_and_values_a_layer_and_read_without_putting_together(monkeypatch):
    keeper = Keeper(10_000)
    tokens = list(range(20 * BLOCK_TOKENS))
    assert len(keeper.insert(tokens)) == 2 * LAYERS
    assert (keeper.copies, len(keeper.segments)) == (1, 1)
    monkeypatch.setattr(mx, "concatenate", lambda *_args, **_kwargs: pytest.fail("put together"))
    assert same(keeper.beginning([*tokens, 1]), keeper.kv(tokens))
    assert same(keeper.beginning([*tokens[: 7 * BLOCK_TOKENS], 1]), keeper.kv(tokens[: 7 * BLOCK_TOKENS]))
    assert same(keeper.beginning([*tokens[:150], 1]), keeper.kv(tokens[:150]))


def test_a_beginning_is_put_together_from_as_many_pieces_as_it_was_kept_in(monkeypatch):
    keeper = Keeper(10_000)
    tokens = list(range(20 * BLOCK_TOKENS))
    for stop in (250, 300, 640):
        keeper.insert(tokens[:stop])
    pieces, concatenate = [], mx.concatenate
    monkeypatch.setattr(mx, "concatenate", lambda arrays, axis: pieces.append(len(arrays)) or concatenate(arrays, axis=axis))
    assert same(keeper.beginning([*tokens, 1]), keeper.kv(tokens))
    assert pieces == [3] * 2 * LAYERS


def test_the_memory_of_what_is_evicted_is_freed():
    base = mx.get_active_memory()
    keeper = Keeper(64 * BLOCK_TOKENS)
    rng = random.Random(7)  # noqa: S311
    stem = [rng.randrange(1000) for _ in range(30 * BLOCK_TOKENS)]
    for _ in range(60):
        fork = rng.randrange(len(stem))
        tokens = stem[:fork] + [rng.randrange(1000) for _ in range(rng.randrange(20 * BLOCK_TOKENS))]
        keeper.insert(tokens)
        slack = len(keeper.segments) * 2 * LAYERS * 16384
        assert keeper.cache.bytes * TOKEN_BYTES <= keeper.bytes <= 2 * keeper.cache.bytes * TOKEN_BYTES
        assert mx.get_active_memory() - base <= keeper.bytes + slack
        kv = keeper.beginning([*tokens, 1])
        assert same(kv, keeper.kv(tokens[: kv[0].shape[2]]) if kv else [])
        del kv  # parts of segments hold on to them
    assert keeper.cache.evictions > 100
    keeper.cache.make_room(keeper.cache.budget)
    assert keeper.update(()) == []
    assert keeper.bytes == 0
    assert mx.get_active_memory() - base < 16384


def test_a_block_that_is_kept_and_forgotten_in_one_plan_is_not_copied():
    keeper = Keeper(4 * BLOCK_TOKENS)
    new = keeper.cache.insert(list(range(100)))
    keeper.cache.make_room(4 * BLOCK_TOKENS)
    assert keeper.update(new, lambda request_id: pytest.fail("copied")) == []


def test_no_row_is_held_on_to_by_what_was_kept_of_it():
    model = tiny_model("llama")
    runner = MlxRunner(model)
    core = EngineCore(runner, SchedulerConfig(max_step_tokens=4096, kv_cost=KvCost(per_token=1), reuse_kv=True))
    mx.clear_cache()
    base = mx.get_active_memory()
    for n in range(3):
        core.add(Request(str(n), tuple((n + i * i) % VOCABULARY for i in range(2050)), 3, sampling=GREEDY))
    while core.has_work:
        core.step()  # the last plan has nothing to compute, and keeps and drops the last rows
    places = runner._kept._places.values()
    kept = sum(array.nbytes for segment in {place.segment for place in places} for array in segment.arrays)
    assert kept >= 3 * 2048 * 4 * 2 * 2 * 8 * 4
    assert mx.get_active_memory() - base <= kept * 1.05
