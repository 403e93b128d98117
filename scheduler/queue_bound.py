"""How many requests may wait, and how soon one that is turned away may try again."""

import math
from collections import deque

_REMEMBERED = 32  # ends that the drain rate is computed from
_LONGEST_SECONDS = 60  # to be asked to wait, whatever the rate


class QueueBound:
    """Counts nothing itself: is told how many are held, and when one ends.

    Args:
        most: Requests held at once, those being answered included.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._ends: deque[float] = deque(maxlen=_REMEMBERED)

    def resize(self, most: int) -> None:
        """Change how many may be held at once; those beyond a lower number stay."""
        self._most = most

    def ended(self, now: float) -> None:
        """A request came to its end, which is a place for another."""
        self._ends.append(now)

    def retry_after(self, held: int, now: float) -> int | None:
        """None while there is room for one more; else the seconds until there should be, if requests end as they did lately."""
        if held < self._most:
            return None
        if len(self._ends) < 2:
            return 1
        seconds_each = (now - self._ends[0]) / len(self._ends)
        return max(1, min(_LONGEST_SECONDS, math.ceil(seconds_each)))
