"""How far a download is: bytes, files, speed, time left."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

_WINDOW_SECONDS = 10  # that the speed is of


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a download is.

    Attributes:
        done, total: Bytes that are on disk, and that there are.
        files_done, files_total: Files that are on disk and checked, and that there are.
        bytes_per_second: Lately; 0 before anything has come.
        seconds_left: At that speed; None while there is none.
    """

    done: int
    total: int
    files_done: int
    files_total: int
    bytes_per_second: float = 0
    seconds_left: float | None = None


class Tally:
    """Counts what threads fetch."""

    def __init__(self, total: int, files_total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._total = total
        self._files_total = files_total
        self._clock = clock
        self._done = 0
        self._files_done = 0
        self._came = 0
        self._samples: deque[tuple[float, int]] = deque([(clock(), 0)])  # when, and how much had come
        self._lock = threading.Lock()

    def found(self, size: int) -> None:
        """So many bytes were on disk already; negative, they were taken away again."""
        with self._lock:
            self._done += size

    def came(self, size: int) -> None:
        """So many bytes came over the line."""
        with self._lock:
            self._done += size
            self._came += size

    def finished(self) -> None:
        """A file is whole."""
        with self._lock:
            self._files_done += 1

    def progress(self) -> Progress:
        """How far it is now."""
        with self._lock:
            now = self._clock()
            self._samples.append((now, self._came))
            while len(self._samples) > 2 and self._samples[1][0] <= now - _WINDOW_SECONDS:
                self._samples.popleft()
            began, came = self._samples[0]
            speed = (self._came - came) / (now - began) if now > began else 0.0
            left = (self._total - self._done) / speed if speed > 0 else None
            return Progress(self._done, self._total, self._files_done, self._files_total, speed, left)
