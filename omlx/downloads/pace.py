"""How many bytes a second all files together may take."""

import threading
import time
from collections.abc import Callable

_CATCH_UP_SECONDS = 0.25  # of what waiting took too long: sleeps are never exact, and reading takes time too


class Pace:
    """A limit that threads share.

    Attributes:
        bytes_per_second: None for no limit; may be changed at any time.

    Args:
        bytes_per_second: As the attribute.
        clock: Seconds that only go up.
    """

    def __init__(self, bytes_per_second: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.bytes_per_second = bytes_per_second
        self._clock = clock
        self._free_at = clock()
        self._lock = threading.Lock()

    def take(self, size: int) -> float:
        """Count some bytes; the seconds to wait before more are read. What was not used before is saved up for a moment only."""
        limit = self.bytes_per_second
        if limit is None:
            return 0
        now = self._clock()
        with self._lock:
            self._free_at = max(self._free_at, now - _CATCH_UP_SECONDS) + size / limit
            return self._free_at - now
