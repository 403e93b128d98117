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
    return PrefixCache(token_bytes=10, budget=10 * BLOCK_TOKENS * blocks)


def found(cache, wanted):
    """How many tokens are found."""
    hit = cache.lock(wanted)
    cache.unlock(hit)
    return hit.tokens


def spans(keep):
    return [(each.start, each.stop) for each in keep.blocks]


def test_the_longest_common_beginning_is_found():
    cache = cache_of(10)
    assert spans(cache.insert(tokens(1, 2, 3, tail=5))) == [(0, 32), (32, 64), (64, 96), (96, 101)]
    assert found(cache, tokens(1, 2, 3, tail=9)) == 101
    assert found(cache, [*tokens(1, 2, 3, tail=3), 1, 2]) == 99
    assert found(cache, tokens(1, 2, 4)) == 64
    assert found(cache, [*tokens(1), 2, 2, 2, 5]) == 35  # within a whole block
    assert found(cache, tokens(2, 3)) == 0


def test_of_several_that_go_on_the_one_that_agrees_longest_is_used():
    cache = cache_of(20)
    for fork in (3, 10, 20, 31):
        cache.insert(tokens(1) + [7] * fork + [fork] * 20)
    for fork in (3, 10, 20, 31):
        assert found(cache, tokens(1) + [7] * fork + [fork, fork, 99]) == 32 + fork + 2
    assert found(cache, tokens(1) + [7] * 25 + [99]) == 32 + 25


def test_one_token_is_always_left_to_feed():
    cache = cache_of(10)
    cache.insert(tokens(1, 2))
    assert found(cache, tokens(1, 2)) == 63
    assert found(cache, tokens(1, 2, tail=1)) == 64
    assert found(cache, [1]) == 0


def test_what_is_known_is_not_kept_twice():
    cache = cache_of(10)
    cache.insert(tokens(1, 2))
    assert spans(cache.insert(tokens(1, 2, 3))) == [(64, 96)]
    assert cache.insert(tokens(1, 2, 3)) is None
    assert cache.insert(tokens(1, 2)[:50]) is None  # a whole block begins with it
    assert cache.bytes == 960


def test_a_short_block_gives_way_to_a_longer_one_that_begins_with_it():
    cache = cache_of(10)
    (_, short) = cache.insert(tokens(1, tail=5)).blocks
    cache.insert([*tokens(1), 999, 999, 4])
    (longer,) = cache.insert(tokens(1, tail=9)).blocks
    assert (longer.start, longer.stop) == (32, 41)
    assert cache.take_evicted() == (short.block_id,)
    assert cache.bytes == 10 * (32 + 3 + 9)
    assert cache.evictions == 0  # nothing was lost
    cache.insert(tokens(1, 999))
    assert cache.take_evicted() == (longer.block_id,)
    assert cache.bytes == 10 * (32 + 3 + 32)
    cache.check_integrity()


def test_a_short_block_that_is_read_now_stays():
    cache = cache_of(10)
    cache.insert(tokens(1, tail=5))
    hit = cache.lock(tokens(1, tail=6))
    assert hit.tokens == 37
    cache.insert(tokens(1, tail=9))
    assert cache.take_evicted() == ()
    cache.unlock(hit)
    cache.check_integrity()


def test_a_short_block_makes_room_for_the_longer_one_only_if_that_comes():
    cache = cache_of(2)
    cache.insert(tokens(1, tail=20))
    hit = cache.lock(tokens(1))  # of the first block, 31 tokens
    cache.budget = 10 * (32 + 25)
    assert spans(cache.insert(tokens(1, tail=25))) == [(32, 57)]
    assert cache.insert(tokens(1, tail=30)) is None
    cache.unlock(hit)
    assert found(cache, tokens(1, tail=30)) == 57
    cache.check_integrity()


def test_the_longest_unused_goes_first_and_a_shared_beginning_last():
    cache = cache_of(4)
    cache.insert(tokens(1, 2))
    cache.insert(tokens(1, 3))
    cache.insert(tokens(1, 4))
    assert found(cache, tokens(1, 2, tail=1)) == 64  # used now
    cache.insert(tokens(1, 5))
    assert found(cache, tokens(1, 3, tail=1)) == 32
    assert [found(cache, tokens(1, n, tail=1)) for n in (2, 4, 5)] == [64, 64, 64]
    assert len(cache.take_evicted()) == 1
    assert cache.take_evicted() == ()


def test_what_is_kept_again_counts_as_used():
    cache = cache_of(3)
    cache.insert(tokens(1, tail=5))
    cache.insert(tokens(2))
    cache.insert(tokens(1, tail=4))  # known already
    cache.insert(tokens(3))
    assert found(cache, tokens(1, tail=9)) == 37
    assert found(cache, tokens(2, tail=1)) == 0


def test_a_part_of_a_block_is_locked_and_used_like_all_of_it():
    cache = cache_of(2)
    cache.insert(tokens(1))
    cache.insert(tokens(2))
    hit = cache.lock([1, 1, 5])
    assert hit.tokens == 2
    assert spans(cache.insert(tokens(3, 4))) == [(0, 32)]
    cache.unlock(hit)
    assert [found(cache, tokens(n, tail=1)) for n in (1, 2, 3)] == [32, 0, 32]


def test_what_is_locked_stays():
    cache = cache_of(2)
    cache.insert(tokens(1, 2))
    locked = cache.lock(tokens(1, 2, tail=1))
    assert cache.insert(tokens(7, 8)) is None
    cache.unlock(locked)
    assert len(cache.insert(tokens(7, 8)).blocks) == 2


def test_a_longer_prompt_than_the_budget_is_kept_as_far_as_it_goes():
    cache = cache_of(3)
    assert len(cache.insert(tokens(1, 2, 3, 4, 5)).blocks) == 3
    assert found(cache, tokens(1, 2, 3, 4, 5)) == 96


def test_queries_and_hits_are_counted_in_tokens():
    cache = cache_of(5)
    cache.insert(tokens(1))
    found(cache, tokens(1, 2, tail=3))
    assert (cache.queries, cache.hits) == (2 * BLOCK_TOKENS + 3, BLOCK_TOKENS)


def checkpoint_cache(tokens, checkpoint=50):
    """One with checkpoints of 50 bytes, or whatever is given, and a byte a token."""
    return PrefixCache(1, tokens, lambda _tokens: checkpoint)


def test_what_is_found_ends_at_a_checkpoint_and_what_is_shared_is_told():
    cache = checkpoint_cache(1000)
    cache.insert(tokens(1, 2))
    keep = cache.insert(tokens(1, 2, 3, tail=5))
    assert spans(keep) == [(64, 96), (96, 101)]
    assert keep.checkpoint is not None
    hit = cache.lock(tokens(1, 2, 3, tail=4))
    assert (hit.tokens, hit.shared) == (64, 99)
    cache.unlock(hit)
    hit = cache.lock(tokens(1, 2, 3, tail=6))
    assert (hit.tokens, hit.shared, hit.checkpoint.checkpoint_id) == (101, 101, keep.checkpoint)
    cache.unlock(hit)
    hit = cache.lock(tokens(1, 4))
    assert (hit.tokens, hit.shared, hit.checkpoint) == (0, 32, None)
    cache.unlock(hit)
    assert cache.bytes == 101 + 100


def test_a_checkpoint_is_taken_where_the_kv_is_known_already_and_only_once():
    cache = checkpoint_cache(1000)
    cache.insert(tokens(1, 2, 3))
    keep = cache.insert(tokens(1, 2))
    assert (keep.blocks, keep.checkpoint is None) == ((), False)
    assert cache.insert(tokens(1, 2)) is None
    assert cache.insert([]) is None
    assert found(cache, tokens(1, 2, 4)) == 64


def test_of_short_blocks_that_all_begin_a_prompt_the_longest_is_used_and_none_gives_way():
    cache = checkpoint_cache(1000)
    for tail in (3, 9, 6):
        cache.insert(tokens(1, tail=tail))
    cache.insert(tokens(1, 999))
    assert cache.take_evicted() == ()
    assert [found(cache, [*tokens(1, tail=tail), 5]) for tail in (2, 3, 5, 6, 8, 9, 31)] == [0, 35, 35, 38, 38, 41, 41]
    assert found(cache, tokens(1, 999, 5)) == 64


def test_checkpoints_on_the_way_of_a_conversation_go_before_what_was_used_later():
    cache = checkpoint_cache(400)
    ids = [cache.insert(tokens(*range(1, n + 1))).checkpoint for n in range(1, 6)]  # 82 bytes each
    assert cache.take_evicted() == (ids[0],)
    assert found(cache, tokens(1, 2, 7)) == 64  # used now
    cache.insert(tokens(*range(1, 7)))
    assert cache.take_evicted() == (ids[2],)
    assert [found(cache, tokens(*range(1, n + 1), 9)) for n in range(1, 7)] == [0, 64, 64, 128, 160, 192]
    cache.check_integrity()


def test_what_a_conversation_ended_with_gives_way_to_what_it_ends_with_now():
    cache = checkpoint_cache(32 + 32 + 50 + 10)
    first = cache.insert(tokens(1))
    assert spans(cache.insert(tokens(1, 2))) == [(32, 64)]
    assert cache.take_evicted() == (first.checkpoint,)
    assert found(cache, tokens(1, 2, 3)) == 64
    assert cache.insert(tokens(1, 2, 4)) is None  # it would not fit even so
    assert found(cache, tokens(1, 2, 3)) == 64
    cache.check_integrity()


def test_a_checkpoint_that_is_read_now_stays_and_one_that_does_not_fit_drives_nothing_out():
    cache = checkpoint_cache(200)
    cache.insert(tokens(1))
    cache.insert(tokens(1, 2))
    hit = cache.lock(tokens(1, 3))
    assert cache.insert(tokens(*range(10, 20))) is None  # it could never fit
    assert cache.take_evicted() == ()
    assert cache.insert(tokens(4, 5)) is not None
    assert hit.checkpoint.checkpoint_id not in cache.take_evicted()
    cache.unlock(hit)
    assert found(cache, tokens(1, 3)) == 32
    cache.check_integrity()


def begins(one, other):
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


class CacheMachine(RuleBasedStateMachine):
    """Random inserts, look-ups and locks, against a plain table of what each block that is kept stands for."""

    # Few kinds of block that differ early, late or not at all, and a tail of any length.
    prompts = st.builds(
        lambda names, tail: [token for name, fork in names for token in [7] * fork + [name] * (BLOCK_TOKENS - fork)] + tail,
        st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0, 5, 31])), max_size=4),
        st.lists(st.sampled_from([0, 7]), max_size=BLOCK_TOKENS - 1),
    )

    def __init__(self):
        super().__init__()
        self.cache = cache_of(6)
        self.stored = {}  # block id: its tokens, and all before it
        self.sizes = {}
        self.locked = []

    @rule(prompt=prompts)
    def insert(self, prompt):
        keep = self.cache.insert(prompt)
        kept = keep.blocks if keep else ()
        assert [each.start for each in kept[1:]] == [each.stop for each in kept[:-1]]
        for each in kept:
            assert each.block_id not in self.stored
            assert 0 < each.stop - each.start <= BLOCK_TOKENS
            self.stored[each.block_id] = tuple(prompt[: each.stop])
            self.sizes[each.block_id] = each.stop - each.start
        assert not kept or kept[-1].stop == len(prompt) or kept[-1].stop % BLOCK_TOKENS == 0
        self.forget()
        if not self.locked and len(prompt) <= 6 * BLOCK_TOKENS:
            assert self.longest(prompt) == len(prompt)

    def longest(self, prompt):
        return max((begins(tokens, prompt) for tokens in self.stored.values()), default=0)

    @rule(prompt=prompts.filter(bool))
    def look(self, prompt):
        hit = self.cache.lock(prompt)
        assert hit.tokens == min(self.longest(prompt), len(prompt) - 1)
        for block in hit.blocks:
            reach = min(hit.tokens, len(self.stored[block.block_id]))
            assert self.stored[block.block_id][:reach] == tuple(prompt[:reach])
        assert sum(self.sizes[block.block_id] for block in hit.blocks[:-1]) < hit.tokens or not hit.blocks
        self.locked.append(hit)

    @precondition(lambda self: self.locked)
    @rule(data=st.data())
    def unlock(self, data):
        self.cache.unlock(self.locked.pop(data.draw(st.integers(0, len(self.locked) - 1))))

    @rule(wanted=st.integers(0, 60 * BLOCK_TOKENS))
    def make_room(self, wanted):
        if self.cache.make_room(wanted):
            assert self.cache.budget - self.cache.bytes >= wanted
        else:
            assert self.locked
        self.forget()

    def forget(self):
        for block_id in self.cache.take_evicted():
            gone, size = self.stored.pop(block_id), self.sizes.pop(block_id)
            whole = size == BLOCK_TOKENS
            assert not (whole and any(len(other) > len(gone) and other[: len(gone)] == gone for other in self.stored.values()))

    @invariant()
    def what_is_locked_is_there(self):
        assert all(block.block_id in self.stored for hit in self.locked for block in hit.blocks)
        assert sum(self.sizes.values()) * 10 == self.cache.bytes <= 60 * BLOCK_TOKENS

    def teardown(self):
        for hit in self.locked:
            self.cache.unlock(hit)
        self.cache.check_integrity()
        assert self.cache.make_room(60 * BLOCK_TOKENS)
        self.forget()
        assert self.stored == {}


class CheckpointMachine(CacheMachine):
    """The same where what is found has to end at a checkpoint."""

    def __init__(self):
        super().__init__()
        self.cache = PrefixCache(10, 60 * BLOCK_TOKENS, self.cost)
        self.checkpoints = {}  # id: the tokens before it

    @staticmethod
    def cost(count):
        return 100 + 7 * min(count, 40)

    @rule(prompt=CacheMachine.prompts)
    def insert(self, prompt):
        keep = self.cache.insert(prompt)
        if keep is not None:
            assert keep.checkpoint not in self.checkpoints
            assert keep.checkpoint not in self.stored
            self.checkpoints[keep.checkpoint] = tuple(prompt)
            assert not keep.blocks or keep.blocks[-1].stop == len(prompt)
            for each in keep.blocks:
                assert each.block_id not in self.stored
                self.stored[each.block_id] = tuple(prompt[: each.stop])
                self.sizes[each.block_id] = each.stop - each.start
        self.forget()
        needed = 10 * len(prompt) + self.cost(len(prompt))
        if prompt and not self.locked and needed <= 60 * BLOCK_TOKENS:
            assert tuple(prompt) in self.checkpoints.values()

    @rule(prompt=CacheMachine.prompts.filter(bool))
    def look(self, prompt):
        hit = self.cache.lock(prompt)
        fed = tuple(prompt[:-1])
        known = [before for before in self.checkpoints.values() if fed[: len(before)] == before]
        assert hit.tokens == max(map(len, known), default=0)
        assert hit.shared == min(self.longest(prompt), len(fed))
        if hit.blocks:
            assert self.checkpoints[hit.checkpoint.checkpoint_id] == fed[: hit.tokens]
            assert sum(self.sizes[block.block_id] for block in hit.blocks) == hit.tokens
        self.locked.append(hit)

    def forget(self):
        evicted = self.cache.take_evicted()
        for number in evicted:
            if number in self.checkpoints:
                del self.checkpoints[number]
            else:
                del self.stored[number], self.sizes[number]

    @invariant()
    def what_is_locked_is_there(self):
        assert all(block.block_id in self.stored for hit in self.locked for block in hit.blocks)
        assert all(hit.checkpoint.checkpoint_id in self.checkpoints for hit in self.locked if hit.blocks)
        taken = sum(self.cost(len(before)) for before in self.checkpoints.values())
        assert sum(self.sizes.values()) * 10 + taken == self.cache.bytes <= 60 * BLOCK_TOKENS

    def teardown(self):
        super().teardown()
        assert self.checkpoints == {}


TestCacheMachine = CacheMachine.TestCase
TestCheckpointMachine = CheckpointMachine.TestCase
TestCacheMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestCheckpointMachine.settings = TestCacheMachine.settings


def test_integrity_notices_a_lock_that_was_left():
    cache = cache_of(2)
    cache.insert(tokens(1))
    cache.lock(tokens(1, tail=1))
    with pytest.raises(AssertionError, match="locked"):
        cache.check_integrity()
