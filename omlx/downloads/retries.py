"""How often, and after how long, a request that failed is made again."""

from dataclasses import dataclass

from omlx.downloads.errors import TransientError, UnreachableError


@dataclass(frozen=True, slots=True)
class Retries:
    """Waits twice as long each time.

    Attributes:
        count: Tries beyond the first, without a byte coming between them.
        first_seconds, longest_seconds: Before the second try, and before any later one.
        longest_asked_seconds: The longest wait that the other side may ask for.
    """

    count: int = 6
    first_seconds: float = 1
    longest_seconds: float = 30
    longest_asked_seconds: float = 600

    def delay(self, failed: int, error: TransientError) -> float:
        """Seconds until the next try, after so many have failed. Raises `UnreachableError` when there is to be none."""
        if failed > self.count:
            raise UnreachableError(f"Given up after {failed} tries: {error}. What has come is kept; try again later.") from error
        if error.after is None:
            return min(self.first_seconds * 2.0 ** (failed - 1), self.longest_seconds)
        if error.after > self.longest_asked_seconds:
            raise UnreachableError(
                f"Given up: {error}, and asks to come back in {error.after:.0f} s. What has come is kept; try again then."
            ) from error
        return error.after
