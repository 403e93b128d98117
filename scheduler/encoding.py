"""Which of the waiting sequences go through an encoder together, by their numbers of tokens alone."""

from collections.abc import Iterator, Sequence
from itertools import islice

_PADDING = 0.15  # of a forward's tokens may be padding
_FORWARD_TOKENS = 32  # a forward costs about as much as so many tokens: no other is worth while for less padding
_MOST_SQUARES = 1 << 24  # rows times length times length: attention's memory, 64 rows of 512 tokens
_LOOKED_AT = 1024  # sequences that are chosen from; the others' turn comes

Name = tuple[str, int]  # a request's id, and which of its sequences


def choose(lengths: Sequence[int], budget: int) -> tuple[int, ...]:
    """The sequences of the next forward, by their places in `lengths`, from the shortest to the longest.

    The first is among them, however long it is; so whoever moves the longest waiting to the front starves nobody. The others are those
    nearest to it in length: the most tokens for which padding stays within a share of the forward's tokens, or costs less than
    another forward would.

    Args:
        lengths: Tokens of each that waits, in the order of their turns.
        budget: Tokens that a forward has at the most, padding included.
    """
    first = lengths[0]
    # Of those of one length, the earliest stand next to the first.
    order = sorted(range(len(lengths)), key=lambda each: (lengths[each], -each if lengths[each] < first else each))
    at = order.index(0)
    sums = [0]
    for each in order:
        sums.append(sums[-1] + lengths[each])
    best, most, low = (at, at + 1), 0, 0
    for high in range(at + 1, len(order) + 1):
        longest = lengths[order[high - 1]]
        while low < at and not _fits(high - low, longest, sums[high] - sums[low], budget):
            low += 1
        tokens = sums[high] - sums[low]
        if not _fits(high - low, longest, tokens, budget):
            break  # and those after it are longer still
        if tokens > most:
            best, most = (low, high), tokens
    low, high = best
    # More rows bear more padding, so what didn't fit with fewer may fit now.
    while low and _fits(high - low + 1, lengths[order[high - 1]], sums[high] - sums[low - 1], budget):
        low -= 1
    while high < len(order) and _fits(high - low + 1, lengths[order[high]], sums[high + 1] - sums[low], budget):
        high += 1
    return tuple(order[low:high])


def _fits(rows: int, longest: int, tokens: int, budget: int) -> bool:
    total = rows * longest
    padding = total - tokens
    return total <= budget and total * longest <= _MOST_SQUARES and padding <= max(_PADDING * total, _FORWARD_TOKENS)


class EncodingQueue:
    """The sequences that wait, request by request. Requests lead a forward in turn, so that one of many sequences delays none for long."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[int, int]] = {}  # by request, in the order of their turns: its sequences' lengths
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, request_id: str, lengths: Sequence[int]) -> None:
        """Let a request's sequences wait; it has none that do."""
        assert request_id not in self._waiting, f"{request_id} waits already"
        if lengths:
            self._waiting[request_id] = dict(enumerate(lengths))
            self._count += len(lengths)

    def drop(self, request_id: str) -> None:
        """Forget what waits of a request, if anything does."""
        self._count -= len(self._waiting.pop(request_id, ()))

    def take(self, budget: int) -> tuple[Name, ...]:
        """The sequences of the next forward, which wait no more; none where none waits. See `choose` for the budget."""
        if not self._waiting:
            return ()
        found = tuple(islice(self._in_turn(), _LOOKED_AT))
        chosen = tuple(found[place][0] for place in choose([length for _, length in found], budget))
        leader = next(iter(self._waiting))
        for request_id, index in chosen:
            del self._waiting[request_id][index]
            if not self._waiting[request_id]:
                del self._waiting[request_id]
        self._count -= len(chosen)
        if leader in self._waiting:
            self._waiting[leader] = self._waiting.pop(leader)
        return chosen

    def _in_turn(self) -> Iterator[tuple[Name, int]]:
        """The first sequence of each request, then the second of each, and so on; with their lengths."""
        left = [(request_id, iter(lengths.items())) for request_id, lengths in self._waiting.items()]
        while left:
            going_on = []
            for request_id, lengths in left:
                following = next(lengths, None)
                if following is not None:
                    index, length = following
                    yield (request_id, index), length
                    going_on.append((request_id, lengths))
            left = going_on
