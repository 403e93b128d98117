"""Time as the catalog sees it, so that tests can have a time of their own."""

import asyncio
from collections.abc import Coroutine
from time import monotonic
from typing import Any, Protocol, TypeVar

_T = TypeVar("_T")


class Clock(Protocol):
    """Time, in seconds."""

    def now(self) -> float:
        """A time that never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return so much later."""
        ...


class SystemClock:
    """The machine's time."""

    def now(self) -> float:
        return monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def within(clock: Clock, seconds: float, work: Coroutine[Any, Any, _T]) -> _T:
    """What some work returns or raises; `TimeoutError` after so many seconds, when it is cancelled."""
    task = asyncio.ensure_future(work)
    alarm = asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait({task, alarm}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise TimeoutError
    finally:
        task.cancel()
        alarm.cancel()
        await asyncio.wait({task, alarm})
