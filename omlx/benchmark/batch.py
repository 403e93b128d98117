"""Requests that are sent at once, and when each of their tokens came."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import mean, median


@dataclass(slots=True)
class Row:
    """One request. Times are seconds of one clock that goes on steadily.

    Attributes:
        arrivals: When tokens came, and how many.
        prompt_tokens, cached_tokens: As the engine counted them; the last are those that it did not have to compute.
    """

    sent: float
    arrivals: list[tuple[float, int]] = field(default_factory=list)
    prompt_tokens: int = 0
    cached_tokens: int = 0

    @property
    def first(self) -> float:
        """When its first token came."""
        return self.arrivals[0][0]

    @property
    def output_tokens(self) -> int:
        """Tokens that came."""
        return sum(tokens for _, tokens in self.arrivals)

    def rate(self, since: float, tokens: int) -> float | None:
        """Tokens a second over so many of its tokens: those after the first that came at `since` or later.

        From a token to a token, so that it doesn't matter when in a step one begins to look. None where so many didn't come.
        """
        later = [arrival for arrival in self.arrivals if arrival[0] >= since]
        count = 0
        for at, more in later[1:]:
            count += more
            if count >= tokens:
                return count / (at - later[0][0]) if at > later[0][0] else None
        return None


@dataclass(frozen=True, slots=True)
class Batch:
    """Some requests that were sent at once, and have all ended."""

    rows: Sequence[Row]

    @property
    def prompt_tokens(self) -> float:
        """Of one prompt, on average."""
        return mean(row.prompt_tokens for row in self.rows)

    @property
    def cached_tokens(self) -> float:
        """Of one prompt, on average."""
        return mean(row.cached_tokens for row in self.rows)

    @property
    def ttft(self) -> float:
        """Seconds to the first token, of the request in the middle."""
        return median(row.first - row.sent for row in self.rows)

    @property
    def all_begun(self) -> float:
        """When every request had its first token."""
        return max(row.first for row in self.rows)

    @property
    def seconds(self) -> float:
        """From sending until every request had its first token."""
        return self.all_begun - min(row.sent for row in self.rows)

    def rates(self, tokens: int) -> list[float] | None:
        """Each request's tokens a second over so many tokens, all of which came while every request was being decoded.

        None where some request had ended before every other was that far.
        """
        rates = [row.rate(self.all_begun, tokens) for row in self.rows]
        found = [rate for rate in rates if rate is not None]
        return found if len(found) == len(rates) else None
