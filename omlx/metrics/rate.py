"""How much came by the second, lately."""

import time
from collections import deque
from collections.abc import Callable

_SECONDS = 10


class Rate:
    """Counts what comes, and tells how much of it came in each of the last ten seconds on average.

    Args:
        clock: Seconds that go on steadily.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seconds: deque[tuple[int, int]] = deque()  # which second, and how much came in it

    def add(self, amount: int) -> None:
        """Count something that came now."""
        second = int(self._clock())
        if self._seconds and self._seconds[-1][0] == second:
            self._seconds[-1] = (second, self._seconds[-1][1] + amount)
        else:
            self._forget(second)
            self._seconds.append((second, amount))

    def per_second(self) -> float:
        """What came in the last ten whole seconds, by the second: the running one doesn't count yet."""
        now = int(self._clock())
        return sum(amount for second, amount in tuple(self._seconds) if now - _SECONDS <= second < now) / _SECONDS

    def _forget(self, now: int) -> None:
        while self._seconds and self._seconds[0][0] < now - _SECONDS:
            self._seconds.popleft()
