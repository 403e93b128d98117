"""How long a model whose engine crashed waits for the next one, and when it is given up."""

from collections import deque

MOST_CRASHES = 5
WINDOW_SECONDS = 600.0
_MOST_LOAD_CRASHES = 2  # in succession: a load that kills its process will most likely do it again


class Backoff:
    """The crashes of one model's engines, by times in seconds."""

    def __init__(self) -> None:
        self._crashes: deque[float] = deque()
        self._load_crashes = 0

    def loaded(self) -> None:
        """An engine of the model has come up."""
        self._load_crashes = 0

    def crashed(self, now: float, *, loading: bool) -> float | None:
        """The seconds to wait before an engine is started again: 0 at first, then 1, 2, 4 …; None to give up.

        It is given up at the fifth crash within ten minutes, and at the second one during a load with no success between.
        """
        while self._crashes and now - self._crashes[0] >= WINDOW_SECONDS:
            self._crashes.popleft()
        self._crashes.append(now)
        self._load_crashes += loading
        earlier = len(self._crashes) - 1
        if earlier + 1 >= MOST_CRASHES or self._load_crashes >= _MOST_LOAD_CRASHES:
            return None
        return float(2 ** (earlier - 1)) if earlier else 0.0
