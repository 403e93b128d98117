"""How steps get from the step thread to the event loop: they gather there, up to a few, and one wake-up fetches all of them."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from itertools import chain
from threading import Semaphore

from scheduler.stats import SchedulerStats
from scheduler.step import TokenEvent

# The step thread waits for a loop that is so many steps behind. Enough to bridge a loop's pauses; many more cost the loop a
# third of its speed: it would work on what has long left the processor's caches.
_MOST_STEPS = 4

Take = Callable[[Sequence[TokenEvent], SchedulerStats], None]


class StepRelay:
    """Steps on their way. At most one call waits in the loop, and finds all that came meanwhile.

    Args:
        loop: Where the steps go.
        take: Called there with the events of one or more steps, in their order, and the numbers after the last.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, take: Take) -> None:
        self._loop = loop
        self._take = take
        self._steps: deque[tuple[Sequence[TokenEvent], SchedulerStats]] = deque()
        self._room = Semaphore(_MOST_STEPS)
        self._is_called = False

    def put(self, events: Sequence[TokenEvent], stats: SchedulerStats) -> None:
        """Hand over a step; waits while the loop is far behind. Called by the step thread alone."""
        self._room.acquire()
        self._steps.append((events, stats))
        if not self._is_called:
            self._is_called = True
            self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._is_called = False  # first: whatever is put after the look below calls again
        steps = [self._steps.popleft() for _ in range(len(self._steps))]
        if steps:
            self._room.release(len(steps))
            self._take(tuple(chain.from_iterable(events for events, _ in steps)), steps[-1][1])
