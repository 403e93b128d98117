"""What a sequence's KV cache takes, in bytes, as a function of its tokens."""

from dataclasses import dataclass


def row_capacity(tokens: int, granule: int, coarse: int) -> int:
    """How many tokens a cache has room for that holds so many.

    It doubles from `granule` up to `coarse`, which is a power of two times as many, and grows by `coarse` from there on; with no
    `coarse`, it grows by `granule`.
    """
    if tokens > coarse:
        step = max(coarse, granule)
        return -(-tokens // step) * step
    capacity = granule
    while capacity < tokens:
        capacity *= 2
    return capacity


@dataclass(frozen=True, slots=True)
class KvCost:
    """The bytes of one sequence's caches.

    Attributes:
        fixed: Whatever its length: the state of recurrent layers.
        per_token: For each token, in layers that keep all of them.
        windows: (tokens, bytes a token) of layers that keep at most so many tokens.
        granule, coarse: How caches grow, see `row_capacity`.
    """

    fixed: int = 0
    per_token: int = 0
    windows: tuple[tuple[int, int], ...] = ()
    granule: int = 1
    coarse: int = 0

    def of(self, tokens: int) -> int:
        """Bytes for so many tokens."""
        kept = row_capacity(tokens, self.granule, self.coarse)
        return self.fixed + self.per_token * kept + sum(each * min(kept, most) for most, each in self.windows)

    @property
    def window(self) -> int:
        """The tokens that the widest window holds; 0 where there is none."""
        return max((most for most, _ in self.windows), default=0)

    def of_checkpoint(self, tokens: int) -> int:
        """Bytes of what stands for so many tokens together: the states, and the windows' contents."""
        return self.fixed + sum(each * min(tokens, most) for most, each in self.windows)

    def tokens_within(self, budget: int, most: int) -> int:
        """The most tokens, up to `most`, whose caches fit a budget of bytes; 0 when not even one does."""
        low, high = 0, most
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.of(middle) <= budget else (low, middle - 1)
        return low
