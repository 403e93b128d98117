"""What is to be measured of a model."""

from dataclasses import dataclass

_STEP_COST = 8  # prompt tokens that take about as long to compute as one step of decoding


@dataclass(frozen=True, slots=True)
class Size:
    """One measurement's.

    Attributes:
        length: Tokens of each prompt, as ordered.
        batch: Requests that are sent at once.
    """

    length: int
    batch: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Every prompt length with every batch size.

    Attributes:
        output_tokens: Of each request, over which decoding is timed.
        repetitions: How often each size is measured; a figure is the median. One more, to warm up, doesn't count.
    """

    lengths: tuple[int, ...]
    batches: tuple[int, ...]
    output_tokens: int = 32
    repetitions: int = 3

    def sizes(self) -> tuple[Size, ...]:
        """What is measured, in this order: what is quick first."""
        return tuple(Size(length, batch) for length in sorted(set(self.lengths)) for batch in sorted(set(self.batches)))

    def cost(self, size: Size) -> int:
        """About how long one repetition takes, beside others of the same model."""
        return size.length * size.batch + _STEP_COST * self.output_tokens

    @property
    def total(self) -> int:
        """The cost of everything, warming up included."""
        return (self.repetitions + 1) * sum(map(self.cost, self.sizes()))
