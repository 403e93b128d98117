"""Ends a request that is still being answered when whoever sent it may not have it any more."""

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = 1.0  # between two looks


async def run_while(may: Callable[[], bool], app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Run an application; once the request may not go on, it is as if the client had left, and what had begun ends.

    That is asked of `may` every second, while the client is waited for.
    """
    is_over = False
    has_begun = False
    is_whole = False

    async def receive_while() -> Message:
        nonlocal is_over
        task = asyncio.ensure_future(receive())
        try:
            while not is_over:
                done, _ = await asyncio.wait((task,), timeout=SECONDS)
                if done:
                    return task.result()
                is_over = not may()
        finally:
            task.cancel()
        return {"type": "http.disconnect"}

    async def send_and_note(message: Message) -> None:
        nonlocal has_begun, is_whole
        has_begun = True
        is_whole = message["type"] == "http.response.body" and not message.get("more_body", False)
        await send(message)

    await app(scope, receive_while, send_and_note)
    if is_over and has_begun and not is_whole:
        await send({"type": "http.response.body", "body": b"", "more_body": False})
