"""The prefix cache finds what it was given and nothing else, within its budget, and its tree stays whole."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from scheduler.prefix_cache import BLOCK_TOKENS, PrefixCache


def tokens(*blocks, tail=0):
    """Tokens made of blocks, each named by a number, and a rest."""
    return [name for name in blocks for _ in range(BLOCK_TOKENS)] + [999] * tail


def cache_of(blocks):
    return PrefixCache(block_bytes=10, budget=10 * blocks)


def found(cache, wanted):
    blocks = cache.lock(wanted)
    cache.unlock(blocks)
    return len(blocks)


def test_the_longest_common_beginning_is_found():
    cache = cache_of(10)
    kept = cache.insert(tokens(1, 2, 3, tail=5))
    assert [each.start for each in kept] == [0, BLOCK_TOKENS, 2 * BLOCK_TOKENS]
    assert found(cache, tokens(1, 2, 3, tail=1)) == 3
    assert found(cache, tokens(1, 2, 4, tail=1)) == 2
    assert found(cache, tokens(2, 3, tail=1)) == 0


def test_one_token_is_always_left_to_feed():
    cache = cache_of(10)
    cache.insert(tokens(1, 2))
    assert found(cache, tokens(1, 2)) == 1
    assert found(cache, tokens(1, 2, tail=1)) == 2


def test_what_is_known_is_not_kept_twice():
    cache = cache_of(10)
    cache.insert(tokens(1, 2))
    assert [each.start for each in cache.insert(tokens(1, 2, 3))] == [2 * BLOCK_TOKENS]
    assert cache.insert(tokens(1, 2, 3)) == ()
    assert cache.bytes == 30


def test_the_longest_unused_goes_first_and_a_shared_beginning_last():
    cache = cache_of(4)
    cache.insert(tokens(1, 2))
    cache.insert(tokens(1, 3))
    cache.insert(tokens(1, 4))
    assert found(cache, tokens(1, 2, tail=1)) == 2  # used now
    cache.insert(tokens(1, 5))
    assert found(cache, tokens(1, 3, tail=1)) == 1
    assert [found(cache, tokens(1, n, tail=1)) for n in (2, 4, 5)] == [2, 2, 2]
    assert len(cache.take_evicted()) == 1
    assert cache.take_evicted() == ()


def test_what_is_locked_stays():
    cache = cache_of(2)
    cache.insert(tokens(1, 2))
    locked = cache.lock(tokens(1, 2, tail=1))
    assert cache.insert(tokens(7, 8)) == ()
    cache.unlock(locked)
    assert len(cache.insert(tokens(7, 8))) == 2


def test_a_longer_prompt_than_the_budget_is_kept_as_far_as_it_goes():
    cache = cache_of(3)
    assert len(cache.insert(tokens(1, 2, 3, 4, 5))) == 3
    assert found(cache, tokens(1, 2, 3, 4, 5)) == 3


def test_queries_and_hits_are_counted_in_tokens():
    cache = cache_of(5)
    cache.insert(tokens(1))
    found(cache, tokens(1, 2, tail=3))
    assert (cache.queries, cache.hits) == (2 * BLOCK_TOKENS + 3, BLOCK_TOKENS)


class CacheMachine(RuleBasedStateMachine):
    """Random inserts, look-ups and locks, against a plain set of every prefix that was ever given."""

    prefixes = st.lists(st.integers(0, 2), min_size=1, max_size=5)

    def __init__(self):
        super().__init__()
        self.cache = cache_of(6)
        self.given = set()
        self.stored = {}
        self.locked = []

    @rule(names=prefixes)
    def insert(self, names):
        for kept in self.cache.insert(tokens(*names)):
            assert kept.block_id not in self.stored
            self.stored[kept.block_id] = tuple(names[: kept.start // BLOCK_TOKENS + 1])
        self.forget()

    @rule(names=prefixes)
    def look(self, names):
        blocks = self.cache.lock(tokens(*names, tail=1))
        for depth, block in enumerate(blocks, 1):
            assert self.stored[block.block_id] == tuple(names[:depth])
        self.locked.append(blocks)

    @precondition(lambda self: self.locked)
    @rule(data=st.data())
    def unlock(self, data):
        self.cache.unlock(self.locked.pop(data.draw(st.integers(0, len(self.locked) - 1))))

    @rule(wanted=st.integers(0, 60))
    def make_room(self, wanted):
        if self.cache.make_room(wanted):
            assert self.cache.budget - self.cache.bytes >= wanted
        else:
            assert self.locked
        self.forget()

    def forget(self):
        for block_id in self.cache.take_evicted():
            del self.stored[block_id]

    @invariant()
    def what_is_locked_is_there(self):
        assert all(block.block_id in self.stored for blocks in self.locked for block in blocks)
        assert len(self.stored) * 10 == self.cache.bytes <= 60

    def teardown(self):
        for blocks in self.locked:
            self.cache.unlock(blocks)
        self.cache.check_integrity()
        assert self.cache.make_room(60)
        self.forget()
        assert self.stored == {}


TestCacheMachine = CacheMachine.TestCase
TestCacheMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_integrity_notices_a_lock_that_was_left():
    cache = cache_of(2)
    cache.insert(tokens(1))
    cache.lock(tokens(1, tail=1))
    with pytest.raises(AssertionError, match="locked"):
        cache.check_integrity()
