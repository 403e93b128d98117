"""Which token prefixes have their KV kept, block by block. Knows no queue and no tensor: a block is a number to it."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from scheduler.branches import Branches

BLOCK_TOKENS = 32


@dataclass(slots=True, eq=False)
class Checkpoint:
    """What of a row stands for all tokens up to a block's end and can't be cut: sliding windows, recurrent states.

    Attributes:
        checkpoint_id: What the runner keeps it under; never used again, for no block either.
        bytes: What it takes.
        locks: How many plans that have not been committed yet read it.
    """

    checkpoint_id: int
    bytes: int
    locks: int = 0


@dataclass(slots=True, eq=False)
class Block:
    """The KV of `BLOCK_TOKENS` tokens, given those before them; of fewer at the end of a sequence that ended.

    Attributes:
        block_id: What the runner keeps the KV under; never used again for another block.
        parent: The block of the tokens before; None at a prompt's beginning.
        tokens: Its own tokens. They are compared, not only hashed, so two prefixes are never taken for one.
        children: The blocks that go on from this one; a short block has none.
        checkpoint: The rest of what a row is at its end, where that is kept.
        locks: How many plans that have not been committed yet read it.
    """

    block_id: int
    parent: "Block | None"
    tokens: tuple[int, ...]
    children: "Branches[Block]" = field(default_factory=Branches)
    checkpoint: Checkpoint | None = None
    locks: int = 0


@dataclass(frozen=True, slots=True)
class Hit:
    """The KV that a row may begin with.

    Attributes:
        blocks: One after the other from the prompt's beginning.
        tokens: How many tokens they stand for; of the last block's, perhaps only the first few.
        shared: How many of the prompt's tokens are known. More than `tokens` where there is no checkpoint at the last of them.
        checkpoint: The last block's, where the row needs one.
    """

    blocks: tuple[Block, ...] = ()
    tokens: int = 0
    shared: int = 0
    checkpoint: Checkpoint | None = None


NOTHING = Hit()


@dataclass(frozen=True, slots=True)
class Kept:
    """A block that a sequence's KV is to be kept as: that of its tokens `start` … `stop - 1`."""

    block_id: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Keep:
    """What is to be kept of a sequence's row, as it is now.

    Attributes:
        blocks: Its KV, one block after the other.
        checkpoint: The id to keep the rest of it under, all of which stands for the row's tokens so far; None if not wanted.
    """

    blocks: tuple[Kept, ...] = ()
    checkpoint: int | None = None


@dataclass(slots=True)
class PrefixCache:
    """A tree of blocks within a budget of bytes.

    Only leaves are evicted, the longest unused first. So a beginning that several prompts share outlives what each of them
    went on with, and no block is ever there without those before it. For models whose rows are more than tokens' KV, what is
    found ends at a checkpoint; checkpoints go like leaves do, by when they were used themselves, and may go before their blocks.

    Args:
        token_bytes: What a token's KV takes.
        budget: Bytes that all blocks and checkpoints may take together.
        checkpoint_bytes: What a checkpoint after so many tokens takes; None where rows are their tokens' KV and nothing more.
    """

    token_bytes: int
    budget: int
    checkpoint_bytes: Callable[[int], int] | None = None
    bytes: int = field(default=0, init=False)
    queries: int = field(default=0, init=False)
    hits: int = field(default=0, init=False)
    evictions: int = field(default=0, init=False)
    _roots: Branches[Block] = field(default_factory=Branches, init=False)
    _unused: OrderedDict[int, Block] = field(default_factory=OrderedDict, init=False)  # leaves and checkpoints, oldest first
    _evicted: list[int] = field(default_factory=list, init=False)
    _next_id: int = field(default=0, init=False)

    def lock(self, tokens: Sequence[int]) -> Hit:
        """The longest known beginning of some tokens, held until `unlock`.

        At least one token is always left over: its logits are wanted. Counts a query of all tokens.
        """
        find = self._find if self.checkpoint_bytes is None else self._find_checkpoint
        hit = find(tokens, len(tokens) - 1)
        for block in hit.blocks:
            block.locks += 1
        if hit.checkpoint is not None:
            hit.checkpoint.locks += 1
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
        if hit.checkpoint is not None:
            hit.checkpoint.locks -= 1
            assert hit.checkpoint.locks >= 0

    def insert(self, tokens: Sequence[int]) -> Keep | None:
        """Take in some tokens, whose KV is there now: whole blocks, and a short one of what is left.

        Returns what is new and has to be kept, if anything. Where checkpoints are needed, one is taken at the last token, and
        nothing at all when the budget has no room for everything. Else what the budget has no room for is left out, and so is a
        short block with whose tokens a known block begins; one that a new block begins with gives way to that.
        """
        path = list(self._walk(tokens, len(tokens)))
        for block in path:
            block.locks += 1  # making room must not take what the new ones go on from
        known = len(path)
        checkpoint = None
        if self.checkpoint_bytes is None:
            self._grow(path, tokens)
        elif tokens:
            checkpoint = self._grow_to_checkpoint(path, tokens, self.checkpoint_bytes(len(tokens)))
        kept = [
            Kept(block.block_id, start, start + len(block.tokens))
            for block, start in zip(path[known:], range(known * BLOCK_TOKENS, len(tokens), BLOCK_TOKENS), strict=False)
        ]
        for block in path:
            block.locks -= 1
        if path:
            self._touch(path[-1])
        return Keep(tuple(kept), checkpoint) if kept or checkpoint is not None else None

    def make_room(self, wanted: int) -> bool:
        """Evict until so many bytes of the budget are free; whether they are."""
        while self.budget - self.bytes < wanted:
            victim = next((block for block in self._unused.values() if self._may_go(block)), None)
            if victim is None:
                return False
            self.evictions += 1
            if victim.children or victim.locks:
                self._drop_checkpoint(victim)
            else:
                self._remove(victim)
        return True

    def take_evicted(self) -> tuple[int, ...]:
        """The ids of blocks and checkpoints that went since the last call and may be forgotten.

        Each block's comes before that of the one it went on from.
        """
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
            assert block.checkpoint is None or block.checkpoint.locks == 0
            assert self.checkpoint_bytes is not None or block.checkpoint is None
        assert set(self._unused) == {block.block_id for block in blocks if block.checkpoint or not block.children}
        assert self.bytes == sum(map(self._bytes, blocks))
        assert self.bytes <= max(self.budget, 0)

    def _find(self, tokens: Sequence[int], most: int) -> Hit:
        """The longest known beginning of the first `most` tokens."""
        path = self._walk(tokens, most)
        whole = len(path) * BLOCK_TOKENS
        rest = tuple(tokens[whole : min(most, whole + BLOCK_TOKENS)])
        nearest, common = self._branches(path[-1] if path else None).nearest(rest)
        return Hit((*path, nearest), whole + common, whole + common) if nearest is not None else Hit(path, whole, whole)

    def _find_checkpoint(self, tokens: Sequence[int], most: int) -> Hit:
        """The longest known beginning of the first `most` tokens that ends at a checkpoint."""
        path = self._walk(tokens, most)
        shared = self._find(tokens, most).tokens
        for depth in range(len(path), -1, -1):
            start = depth * BLOCK_TOKENS
            rest = tuple(tokens[start : min(most, start + BLOCK_TOKENS)])
            for block in self._branches(path[depth - 1] if depth else None).beginnings(rest):
                if block.checkpoint is not None:
                    return Hit((*path[:depth], block), start + len(block.tokens), shared, block.checkpoint)
        return Hit(shared=shared)

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

    def _grow(self, path: list[Block], tokens: Sequence[int]) -> None:
        """Go on from the end of a path with the rest of some tokens, as far as there is room."""
        for start in range(len(path) * BLOCK_TOKENS, len(tokens), BLOCK_TOKENS):
            block = self._take_in(path[-1] if path else None, tuple(tokens[start : start + BLOCK_TOKENS]))
            if block is None:
                return
            block.locks += 1
            path.append(block)

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
        return self._add(parent, tokens)

    def _grow_to_checkpoint(self, path: list[Block], tokens: Sequence[int], checkpoint_bytes: int) -> int | None:
        """Go on from the end of a path to the last of some tokens and take a checkpoint there: its id, if there is a new one."""
        rest = tokens[len(path) * BLOCK_TOKENS :]
        last = path[-1] if path else None
        there = self._branches(last).get(tuple(rest)) if rest else last
        if there is not None and there.checkpoint is not None:
            self._touch(there)
            return None
        if self.token_bytes * len(tokens) + checkpoint_bytes > self.budget:
            return None  # it could not fit with all else gone
        if not self.make_room(self.token_bytes * len(rest) + checkpoint_bytes):
            return None
        for start in range(0, len(rest), BLOCK_TOKENS):
            last = self._add(last, tuple(rest[start : start + BLOCK_TOKENS]))
            last.locks += 1
            path.append(last)
        assert last is not None
        last.checkpoint = Checkpoint(self._new_id(), checkpoint_bytes)
        self.bytes += checkpoint_bytes
        self._unused[last.block_id] = last
        self._unused.move_to_end(last.block_id)
        return last.checkpoint.checkpoint_id

    def _add(self, parent: Block | None, tokens: tuple[int, ...]) -> Block:
        block = Block(self._new_id(), parent, tokens)
        self.bytes += self._bytes(block)
        self._branches(parent).add(tokens, block)
        self._unused[block.block_id] = block
        if parent is not None and parent.checkpoint is None:
            self._unused.pop(parent.block_id, None)
        return block

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id

    def _touch(self, block: Block) -> None:
        """Used now: the last of the leaves and checkpoints to go, if it is or has one."""
        if block.block_id in self._unused:
            self._unused.move_to_end(block.block_id)

    def _may_go(self, block: Block) -> bool:
        """Whether a leaf that nobody reads may go, or a block's checkpoint where the block has to stay."""
        if block.children or block.locks:
            return block.checkpoint is not None and not block.checkpoint.locks
        return True

    def _remove(self, leaf: Block) -> None:
        parent = leaf.parent
        if leaf.checkpoint is not None:
            self._drop_checkpoint(leaf)
        del self._unused[leaf.block_id]
        self._branches(parent).remove(leaf.tokens)
        self._evicted.append(leaf.block_id)
        self.bytes -= self._bytes(leaf)
        if parent is not None and not parent.children and parent.checkpoint is None:
            # It was used when its child was: it goes next unless something else is older still.
            self._unused[parent.block_id] = parent
            self._unused.move_to_end(parent.block_id, last=False)

    def _drop_checkpoint(self, block: Block) -> None:
        assert block.checkpoint is not None
        self._evicted.append(block.checkpoint.checkpoint_id)
        self.bytes -= block.checkpoint.bytes
        block.checkpoint = None
        if block.children:
            del self._unused[block.block_id]

    def _branches(self, parent: Block | None) -> Branches[Block]:
        return self._roots if parent is None else parent.children

    def _bytes(self, block: Block) -> int:
        return self.token_bytes * len(block.tokens) + (block.checkpoint.bytes if block.checkpoint is not None else 0)

    def _all(self, parent: Block | None) -> Iterator[Block]:
        places = [parent]
        while places:
            for block in self._branches(places.pop()):
                yield block
                places.append(block)
