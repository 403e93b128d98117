"""Which token prefixes have their KV kept, block by block. Knows no queue and no tensor: a block is a number to it."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

BLOCK_TOKENS = 32


@dataclass(slots=True, eq=False)
class Block:
    """The KV of `BLOCK_TOKENS` tokens, given those before them.

    Attributes:
        block_id: What the runner keeps the KV under; never used again for another block.
        parent: The block of the tokens before; None at a prompt's beginning.
        tokens: Its own tokens. They are compared, not only hashed, so two prefixes are never taken for one.
        children: How many blocks go on from this one.
        locks: How many plans that have not been committed yet read it.
    """

    block_id: int
    parent: "Block | None"
    tokens: tuple[int, ...]
    children: int = 0
    locks: int = 0


@dataclass(frozen=True, slots=True)
class Kept:
    """A block that a sequence's KV is to be kept as.

    Attributes:
        start: The block's first position in the sequence.
    """

    block_id: int
    start: int


@dataclass(slots=True)
class PrefixCache:
    """A tree of blocks within a budget of bytes.

    Only leaves are evicted, the longest unused first. So a beginning that several prompts share outlives what each of them
    went on with, and no block is ever there without those before it.

    Args:
        block_bytes: What a block takes.
        budget: Bytes that all blocks may take together.
    """

    block_bytes: int
    budget: int
    queries: int = 0
    hits: int = 0
    evictions: int = 0
    _blocks: dict[tuple[int | None, tuple[int, ...]], Block] = field(default_factory=dict)
    _leaves: OrderedDict[int, Block] = field(default_factory=OrderedDict)
    _evicted: list[int] = field(default_factory=list)
    _next_id: int = 0

    @property
    def bytes(self) -> int:
        """What the blocks take."""
        return len(self._blocks) * self.block_bytes

    def lock(self, tokens: Sequence[int]) -> tuple[Block, ...]:
        """The longest known beginning of some tokens, in whole blocks, held until `unlock`.

        At least one token is always left over: its logits are wanted. Counts a query of all tokens.
        """
        found = self._walk(tokens, (len(tokens) - 1) // BLOCK_TOKENS)
        for block in found:
            block.locks += 1
            self._touch(block)
        self.queries += len(tokens)
        self.hits += len(found) * BLOCK_TOKENS
        return found

    def unlock(self, blocks: Sequence[Block]) -> None:
        """Let go of what `lock` gave."""
        for block in blocks:
            block.locks -= 1
            assert block.locks >= 0

    def insert(self, tokens: Sequence[int]) -> tuple[Kept, ...]:
        """Take in the whole blocks of some tokens, whose KV is there now.

        Returns those that are new and have to be kept, in order. When the budget has no room for more, the rest is left out.
        """
        whole = len(tokens) // BLOCK_TOKENS
        path = list(self._walk(tokens, whole))
        for block in path:
            block.locks += 1  # making room must not take what the new ones go on from
        kept: list[Kept] = []
        for index in range(len(path), whole):
            if not self.make_room(self.block_bytes):
                break
            parent = path[-1] if path else None
            block = self._add(parent, tuple(tokens[index * BLOCK_TOKENS : (index + 1) * BLOCK_TOKENS]))
            block.locks += 1
            path.append(block)
            kept.append(Kept(block.block_id, index * BLOCK_TOKENS))
        for block in reversed(path):
            block.locks -= 1
            self._touch(block)
        return tuple(kept)

    def make_room(self, wanted: int) -> bool:
        """Evict until so many bytes of the budget are free; whether they are."""
        while self.budget - self.bytes < wanted:
            victim = next((leaf for leaf in self._leaves.values() if not leaf.locks), None)
            if victim is None:
                return False
            self._evict(victim)
        return True

    def take_evicted(self) -> tuple[int, ...]:
        """The ids of the blocks evicted since the last call, whose KV may be forgotten."""
        evicted, self._evicted = tuple(self._evicted), []
        return evicted

    def check_integrity(self) -> None:
        """Raise `AssertionError` unless the tree is whole: parents there, children counted, leaves known, bytes within budget."""
        blocks = {block.block_id: block for block in self._blocks.values()}
        assert len(blocks) == len(self._blocks)
        children = dict.fromkeys(blocks, 0)
        for (parent_id, tokens), block in self._blocks.items():
            assert block.tokens == tokens
            assert (block.parent.block_id if block.parent else None) == parent_id
            assert block.locks == 0, "a block is locked while nothing is planned"
            if parent_id is not None:
                assert parent_id in blocks, "a block outlived the one before it"
                children[parent_id] += 1
        assert all(block.children == children[block_id] for block_id, block in blocks.items())
        assert set(self._leaves) == {block_id for block_id, count in children.items() if not count}
        assert self.bytes <= max(self.budget, 0)

    def _walk(self, tokens: Sequence[int], most: int) -> tuple[Block, ...]:
        found: list[Block] = []
        parent: int | None = None
        for start in range(0, most * BLOCK_TOKENS, BLOCK_TOKENS):
            block = self._blocks.get((parent, tuple(tokens[start : start + BLOCK_TOKENS])))
            if block is None:
                break
            found.append(block)
            parent = block.block_id
        return tuple(found)

    def _add(self, parent: Block | None, tokens: tuple[int, ...]) -> Block:
        block = Block(self._next_id, parent, tokens)
        self._next_id += 1
        self._blocks[parent.block_id if parent else None, tokens] = block
        self._leaves[block.block_id] = block
        if parent is not None:
            parent.children += 1
            self._leaves.pop(parent.block_id, None)
        return block

    def _touch(self, block: Block) -> None:
        """Used now: the last of the leaves to go, if it is one."""
        if block.block_id in self._leaves:
            self._leaves.move_to_end(block.block_id)

    def _evict(self, leaf: Block) -> None:
        parent = leaf.parent
        del self._leaves[leaf.block_id]
        del self._blocks[parent.block_id if parent else None, leaf.tokens]
        self._evicted.append(leaf.block_id)
        self.evictions += 1
        if parent is not None:
            parent.children -= 1
            if not parent.children:
                # It was used when its child was: it goes next unless something else is older still.
                self._leaves[parent.block_id] = parent
                self._leaves.move_to_end(parent.block_id, last=False)
