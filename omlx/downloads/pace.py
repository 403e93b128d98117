"""How many bytes a second all files together may take."""

import threading
import time
from collections.abc import Callable

_CATCH_UP_SECONDS = 0.25  # of what waiting took too long: sleeps are never exact, and reading takes time too


class Pace:
    """A limit that threads share.

    Args:
        bytes_per_second: None for no limit.
        clock: Seconds that only go up.
    """

    def __init__(self, bytes_per_second: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = bytes_per_second
        self._clock = clock
        self._free_at = clock()
        self._lock = threading.Lock()

    @property
    def bytes_per_second(self) -> int | None:
        """The limit. Once it is changed, what was taken under another one counts no more."""
        return self._limit

    @bytes_per_second.setter
    def bytes_per_second(self, limit: int | None) -> None:
        with self._lock:
            if limit != self._limit:
                self._limit, self._free_at = limit, self._clock()

    def take(self, size: int) -> float:
        """Count some bytes; the seconds to wait before more are read. What was not used before is saved up for a moment only."""
        with self._lock:
            if self._limit is None:
                return 0
            now = self._clock()
            self._free_at = max(self._free_at, now - _CATCH_UP_SECONDS) + size / self._limit
            return self._free_at - now
