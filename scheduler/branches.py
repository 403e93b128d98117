"""What goes on from one place of a tree, found by the longest common beginning. Knows nothing of what it holds."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
Tokens = tuple[int, ...]


class Branches(Generic[T]):
    """Values by their tokens, and the tokens in order: of all in a sorted list, a neighbour shares the longest beginning.

    So a look-up takes a search by halves, however many branches begin alike.
    """

    __slots__ = ("_ordered", "_values")

    def __init__(self) -> None:
        self._values: dict[Tokens, T] = {}
        self._ordered: list[Tokens] = []

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[T]:
        """The values, in no order."""
        return iter(self._values.values())

    def get(self, tokens: Tokens) -> T | None:
        """The branch with exactly these tokens."""
        return self._values.get(tokens)

    def add(self, tokens: Tokens, value: T) -> None:
        """Take in a branch whose tokens no other one has."""
        assert tokens not in self._values
        self._values[tokens] = value
        insort(self._ordered, tokens)

    def remove(self, tokens: Tokens) -> None:
        """Forget a branch."""
        del self._values[tokens]
        del self._ordered[bisect_left(self._ordered, tokens)]

    def nearest(self, tokens: Tokens) -> tuple[T | None, int]:
        """The branch that shares the longest beginning with some tokens, and that beginning's length; None when none shares any."""
        at = bisect_left(self._ordered, tokens)
        length, best = max(((_common(each, tokens), each) for each in self._ordered[max(at - 1, 0) : at + 1]), default=(0, ()))
        return (self._values[best], length) if length else (None, 0)

    def beginnings(self, tokens: Tokens) -> Iterator[T]:
        """The branches whose own tokens are a beginning of these, or all of them; the longest first."""
        while tokens:
            at = bisect_right(self._ordered, tokens)
            if not at:
                return
            # Whatever is a beginning of `tokens` comes before them in order, and none is longer than what the one before shares.
            before = self._ordered[at - 1]
            shared = _common(before, tokens)
            if shared == len(before):
                yield self._values[before]
                shared -= 1
            tokens = tokens[:shared]


def _common(one: Tokens, other: Tokens) -> int:
    for index, (mine, theirs) in enumerate(zip(one, other, strict=False)):
        if mine != theirs:
            return index
    return min(len(one), len(other))
