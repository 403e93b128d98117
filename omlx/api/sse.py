"""Server-sent events as OpenAI and Anthropic frame them, and the response that sends them."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import orjson
from fastapi import Response
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from omlx.api.disconnect import unless_gone

DONE = b"data: [DONE]\n\n"
QUIET = b": quiet\n\n"  # a comment, which says that the stream lives
_QUIET_SECONDS = 15.0  # after which a stream says that it lives
LOADING = b": loading\n\n"  # a comment, which every client of server-sent events ignores


def event(data: Mapping[str, Any]) -> bytes:
    """One event. JSON has no bare line breaks, so a single `data:` line holds it."""
    return b"data: " + orjson.dumps(data) + b"\n\n"


async def changes(states: AsyncGenerator[Mapping[str, Any], None]) -> AsyncGenerator[bytes, None]:
    """Each state as an event, and a comment where there is none for long."""
    async with aclosing(states):
        while True:
            following = asyncio.ensure_future(anext(states))
            try:
                while not (await asyncio.wait((following,), timeout=_QUIET_SECONDS))[0]:
                    yield QUIET
                yield event(following.result())
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)


def named_event(data: Mapping[str, Any]) -> bytes:
    """One event under the name that its `type` says."""
    return b"event: " + str(data["type"]).encode() + b"\n" + event(data)


class EventStream(Response):
    """Sends events as they are made, for as long as the client is there; then closes their generator.

    Args:
        first: The events that are there already.
        rest: The others, from a generator that has been started: only then does closing it run its `finally`.
    """

    media_type = "text/event-stream"

    def __init__(self, first: bytes, rest: AsyncGenerator[bytes, None]) -> None:
        super().__init__(headers={"cache-control": "no-cache", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._first = first
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as ASGI has it
        """Send everything, or as much as the client waits for."""
        try:
            await unless_gone(receive, self._send(send))
        except ClientDisconnect:
            pass  # the answer's own clean-up has run
        finally:
            await self._rest.aclose()

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self._first, "more_body": True})
        async for events in self._rest:
            await send({"type": "http.response.body", "body": events, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
