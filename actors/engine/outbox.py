"""What waits to be sent to one consumer: deltas gather here until its stream takes them, as one item."""

import asyncio

from actors.contracts import Delta, StepItem
from scheduler.stats import SchedulerStats


class Outbox:
    """One consumer's deltas. Belongs to the engine's event loop.

    Args:
        stats: The engine's numbers so far.
    """

    def __init__(self, stats: SchedulerStats) -> None:
        self._deltas: list[Delta] = []
        self._stats = stats
        self._closed = False
        # Set from the start: the first item, empty, tells the consumer that its stream is open.
        self._ready = asyncio.Event()
        self._ready.set()
        self._emptied = asyncio.Event()

    def put(self, delta: Delta) -> None:
        """Add a delta; it travels with the step's others once `send` is called."""
        self._deltas.append(delta)
        self._emptied.clear()

    def send(self, stats: SchedulerStats) -> None:
        """Let everything put so far go, with the engine's latest numbers."""
        self._stats = stats
        self._ready.set()

    def close(self) -> None:
        """No more will come; what is here still goes out."""
        self._closed = True
        self._ready.set()

    @property
    def is_empty(self) -> bool:
        """Whether the stream has passed on all that was put, and waits for more."""
        return self._emptied.is_set()

    async def emptied(self) -> None:
        """Return when it is empty."""
        await self._emptied.wait()

    async def take(self) -> bytes | None:
        """Wait for the next item; None once all is out after `close`. To be called again when the one before is on its way."""
        if not self._deltas:
            self._emptied.set()
        await self._ready.wait()
        if self._closed and not self._deltas:
            return None
        if not self._closed:
            self._ready.clear()
        deltas, self._deltas = tuple(self._deltas), []
        return StepItem(deltas, self._stats).encode()
