"""Whether some files and folders are as they were: by times, sizes and inodes, a system call each."""

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# Clocks that stamp files tick every 1 to 10 ms: what was written that shortly before a look may be written again unseen.
_TICK_NS = 20_000_000

_State = tuple[int, int, int] | None


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Some paths as they were at a moment; take it before reading them. A folder's state changes with the names in it."""

    paths: tuple[str, ...] = ()
    states: tuple[_State, ...] = ()
    settled: bool = False

    @classmethod
    def take(cls, paths: Iterable[str]) -> "Fingerprint":
        """The state of the paths as they are now; links are followed, and one that isn't there is a state too."""
        now = time.time_ns()
        return cls._of({path: _state(path) for path in paths}, now)

    @classmethod
    def of(cls, statuses: Mapping[str, os.stat_result | None], now: int) -> "Fingerprint":
        """The same of paths whose status was asked for already; `now` is when, or shortly before, in Unix nanoseconds."""
        return cls._of({path: status and _compared(status) for path, status in statuses.items()}, now)

    @classmethod
    def _of(cls, states: Mapping[str, _State], now: int) -> "Fingerprint":
        settled = not any(state is not None and abs(now - state[0]) < _TICK_NS for state in states.values())
        return cls(tuple(states), tuple(states.values()), settled)

    def __add__(self, other: "Fingerprint") -> "Fingerprint":
        """Both together."""
        return Fingerprint(self.paths + other.paths, self.states + other.states, self.settled and other.settled)

    def is_current(self) -> bool:
        """Whether nothing has changed since; False when that can't be known."""
        return self.settled and all(_state(path) == state for path, state in zip(self.paths, self.states, strict=True))


UNKNOWN = Fingerprint()  # of what could not be read: never current


def _state(path: str) -> _State:
    try:
        return _compared(os.stat(path))  # noqa: PTH116  # a Path object for each would take longer than the call itself
    except OSError:
        return None


def _compared(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_mtime_ns, status.st_size, status.st_ino
