"""Which token prefixes have their KV kept, block by block. Knows no queue and no tensor: a block is a number to it."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from scheduler.branches import Branches

BLOCK_TOKENS = 32


@dataclass(slots=True, eq=False)
class Block:
    """The KV of `BLOCK_TOKENS` tokens, given those before them; of fewer at the end of a sequence that ended.

    Attributes:
        block_id: What the runner keeps the KV under; never used again for another block.
        parent: The block of the tokens before; None at a prompt's beginning.
        tokens: Its own tokens. They are compared, not only hashed, so two prefixes are never taken for one.
        children: The blocks that go on from this one; a short block has none.
        locks: How many plans that have not been committed yet read it.
    """

    block_id: int
    parent: "Block | None"
    tokens: tuple[int, ...]
    children: "Branches[Block]" = field(default_factory=Branches)
    locks: int = 0


@dataclass(frozen=True, slots=True)
class Hit:
    """The KV that a row may begin with.

    Attributes:
        blocks: One after the other from the prompt's beginning.
        tokens: How many tokens they stand for; of the last block's, perhaps only the first few.
    """

    blocks: tuple[Block, ...] = ()
    tokens: int = 0


NOTHING = Hit()


@dataclass(frozen=True, slots=True)
class Kept:
    """A block that a sequence's KV is to be kept as: that of its tokens `start` … `stop - 1`."""

    block_id: int
    start: int
    stop: int


@dataclass(slots=True)
class PrefixCache:
    """A tree of blocks within a budget of bytes.

    Only leaves are evicted, the longest unused first. So a beginning that several prompts share outlives what each of them
    went on with, and no block is ever there without those before it.

    Args:
        token_bytes: What a token's KV takes.
        budget: Bytes that all blocks may take together.
    """

    token_bytes: int
    budget: int
    bytes: int = field(default=0, init=False)
    queries: int = field(default=0, init=False)
    hits: int = field(default=0, init=False)
    evictions: int = field(default=0, init=False)
    _roots: Branches[Block] = field(default_factory=Branches, init=False)
    _leaves: OrderedDict[int, Block] = field(default_factory=OrderedDict, init=False)
    _evicted: list[int] = field(default_factory=list, init=False)
    _next_id: int = field(default=0, init=False)

    def lock(self, tokens: Sequence[int]) -> Hit:
        """The longest known beginning of some tokens, held until `unlock`.

        At least one token is always left over: its logits are wanted. Counts a query of all tokens.
        """
        hit = self._find(tokens, len(tokens) - 1)
        for block in hit.blocks:
            block.locks += 1
        if hit.blocks:
            self._touch(hit.blocks[-1])
        self.queries += len(tokens)
        self.hits += hit.tokens
        return hit

    def unlock(self, hit: Hit) -> None:
        """Let go of what `lock` gave."""
        for block in hit.blocks:
            block.locks -= 1
            assert block.locks >= 0

    def insert(self, tokens: Sequence[int]) -> tuple[Kept, ...]:
        """Take in some tokens, whose KV is there now: whole blocks, and a short one of what is left.

        Returns the blocks that are new and have to be kept, in order. When the budget has no room for more, the rest is left
        out. A short block is left out too where a known one begins with its tokens, and gives way where a new one does.
        """
        path = list(self._walk(tokens, len(tokens)))
        for block in path:
            block.locks += 1  # making room must not take what the new ones go on from
        kept: list[Kept] = []
        for start in range(len(path) * BLOCK_TOKENS, len(tokens), BLOCK_TOKENS):
            new = self._take_in(path[-1] if path else None, tuple(tokens[start : start + BLOCK_TOKENS]))
            if new is None:
                break
            new.locks += 1
            path.append(new)
            kept.append(Kept(new.block_id, start, start + len(new.tokens)))
        for block in path:
            block.locks -= 1
        if path:
            self._touch(path[-1])
        return tuple(kept)

    def make_room(self, wanted: int) -> bool:
        """Evict until so many bytes of the budget are free; whether they are."""
        while self.budget - self.bytes < wanted:
            victim = next((leaf for leaf in self._leaves.values() if not leaf.locks), None)
            if victim is None:
                return False
            self._remove(victim)
            self.evictions += 1
        return True

    def take_evicted(self) -> tuple[int, ...]:
        """The ids of the blocks that went since the last call, whose KV may be forgotten; each before the one it went on from."""
        evicted, self._evicted = tuple(self._evicted), []
        return evicted

    def check_integrity(self) -> None:
        """Raise `AssertionError` unless the tree is whole: parents right, leaves known, bytes counted and within budget."""
        blocks = list(self._all(None))
        assert len({block.block_id for block in blocks}) == len(blocks)
        for block in blocks:
            assert self._branches(block.parent).get(block.tokens) is block
            assert block.locks == 0, "a block is locked while nothing is planned"
            assert 0 < len(block.tokens) <= BLOCK_TOKENS
            assert len(block.tokens) == BLOCK_TOKENS or not block.children, "something goes on from a short block"
        assert set(self._leaves) == {block.block_id for block in blocks if not block.children}
        assert self.bytes == sum(map(self._bytes, blocks))
        assert self.bytes <= max(self.budget, 0)

    def _find(self, tokens: Sequence[int], most: int) -> Hit:
        """The longest known beginning of the first `most` tokens."""
        path = self._walk(tokens, most)
        whole = len(path) * BLOCK_TOKENS
        rest = tuple(tokens[whole : min(most, whole + BLOCK_TOKENS)])
        nearest, common = self._branches(path[-1] if path else None).nearest(rest)
        return Hit((*path, nearest), whole + common) if nearest is not None else Hit(path, whole)

    def _walk(self, tokens: Sequence[int], most: int) -> tuple[Block, ...]:
        """The known whole blocks of the first `most` tokens."""
        found: list[Block] = []
        branches = self._roots
        for start in range(0, most - BLOCK_TOKENS + 1, BLOCK_TOKENS):
            block = branches.get(tuple(tokens[start : start + BLOCK_TOKENS]))
            if block is None:
                break
            found.append(block)
            branches = block.children
        return tuple(found)

    def _take_in(self, parent: Block | None, tokens: tuple[int, ...]) -> Block | None:
        """A new block; None where there is no room for it, or where a known one begins with its tokens."""
        branches = self._branches(parent)
        nearest, common = branches.nearest(tokens)
        if nearest is not None and common == len(tokens):
            self._touch(nearest)
            return None
        replaced = [block for block in branches.beginnings(tokens) if not block.locks]
        for block in replaced:
            block.locks += 1  # they go if the new one comes
        fits = self.make_room(self.token_bytes * len(tokens) - sum(map(self._bytes, replaced)))
        for block in replaced:
            block.locks -= 1
        if not fits:
            return None
        for block in replaced:
            self._remove(block)
        block = Block(self._next_id, parent, tokens)
        self._next_id += 1
        self.bytes += self._bytes(block)
        branches.add(tokens, block)
        self._leaves[block.block_id] = block
        if parent is not None:
            self._leaves.pop(parent.block_id, None)
        return block

    def _touch(self, block: Block) -> None:
        """Used now: the last of the leaves to go, if it is one."""
        if block.block_id in self._leaves:
            self._leaves.move_to_end(block.block_id)

    def _remove(self, leaf: Block) -> None:
        parent = leaf.parent
        del self._leaves[leaf.block_id]
        self._branches(parent).remove(leaf.tokens)
        self._evicted.append(leaf.block_id)
        self.bytes -= self._bytes(leaf)
        if parent is not None and not parent.children:
            # It was used when its child was: it goes next unless something else is older still.
            self._leaves[parent.block_id] = parent
            self._leaves.move_to_end(parent.block_id, last=False)

    def _branches(self, parent: Block | None) -> Branches[Block]:
        return self._roots if parent is None else parent.children

    def _bytes(self, block: Block) -> int:
        return self.token_bytes * len(block.tokens)

    def _all(self, parent: Block | None) -> Iterator[Block]:
        places = [parent]
        while places:
            for block in self._branches(places.pop()):
                yield block
                places.append(block)
