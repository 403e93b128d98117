"""What a stream says while its first event is made: a model may have to be loaded first."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

DEFAULT_SECONDS = 10.0


async def kept_alive(first: Coroutine[Any, Any, bytes], seconds: float, sign: bytes) -> AsyncGenerator[bytes, None]:
    """A sign of life every so many seconds until a stream's first events are there, then these. Raises as `first` does."""
    task = asyncio.create_task(first)
    try:
        while not (await asyncio.wait((task,), timeout=seconds))[0]:
            yield sign
        yield task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
