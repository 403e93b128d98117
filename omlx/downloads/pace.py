"""How many bytes a second all files together may take."""

import threading
import time
from collections.abc import Callable


class Pace:
    """A limit that threads share.

    Args:
        bytes_per_second: None for no limit.
        clock: Seconds that only go up.
    """

    def __init__(self, bytes_per_second: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = bytes_per_second
        self._clock = clock
        self._free_at = 0.0
        self._lock = threading.Lock()

    def take(self, size: int) -> float:
        """Count some bytes; the seconds to wait before more are read. What was not used before is not saved up."""
        if self._limit is None:
            return 0
        now = self._clock()
        with self._lock:
            self._free_at = max(self._free_at, now) + size / self._limit
            return self._free_at - now
