"""How many jobs an engine holds, for how long it has held none, and for how long it could."""

import asyncio
from collections.abc import Callable
from time import monotonic


class Occupancy:
    """Belongs to the engine's event loop.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._held = 0
        self._loaded_at: float | None = None
        self._idle_since: float | None = None  # None until the model is loaded
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def held(self) -> int:
        """Jobs that have not ended."""
        return self._held

    @property
    def idle_seconds(self) -> float:
        """For how long none has been held: since the last one ended, or since the load; 0 before that and while there is one."""
        return 0.0 if self._held or self._idle_since is None else self._clock() - self._idle_since

    @property
    def ready_seconds(self) -> float:
        """For how long the model has been loaded; 0 before."""
        return 0.0 if self._loaded_at is None else self._clock() - self._loaded_at

    def loaded(self) -> None:
        """From now on, holding nothing is idling."""
        self._loaded_at = self._idle_since = self._clock()

    def begin(self) -> None:
        """A job has come."""
        self._held += 1
        self._empty.clear()

    def end(self) -> None:
        """One of those held has ended."""
        assert self._held, "a job has ended twice"
        self._held -= 1
        if self._idle_since is not None:
            self._idle_since = self._clock()
        if not self._held:
            self._empty.set()

    async def empty(self) -> None:
        """Return when none is held."""
        while self._held:  # others may have come between the last one's end and this task's turn
            await self._empty.wait()
