"""A client of ASGI applications that sees every message, and may leave."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any


class Call:
    """One request, its body in the chunks given; `leave` hangs up, and `wait_for` sees what has come."""

    def __init__(self, app: Any, method: str, path: str, chunks: Sequence[bytes] = (b"",), headers: dict[str, str] | None = None):
        self.sent: list[dict[str, Any]] = []
        self._app = app
        self._chunks = list(chunks)
        self._news = asyncio.Event()
        self._left = asyncio.Event()
        self._scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path.partition("?")[0],
            "raw_path": path.partition("?")[0].encode(),
            "query_string": path.partition("?")[2].encode(),
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }

    async def run(self) -> "Call":
        """Let the application answer."""
        await asyncio.wait_for(self._app(self._scope, self._receive, self._send), 10)
        return self

    def leave(self) -> None:
        """Hang up."""
        self._left.set()

    async def wait_for(self, text: bytes) -> None:
        """Return once the body contains a text."""
        while text not in self.body:
            self._news.clear()
            await asyncio.wait_for(self._news.wait(), 10)

    @property
    def status(self) -> int:
        """The status line's number."""
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        """The answer's headers."""
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def body(self) -> bytes:
        """What has come of the body."""
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    async def _receive(self) -> dict[str, Any]:
        if self._chunks:
            return {"type": "http.request", "body": self._chunks.pop(0), "more_body": bool(self._chunks)}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)
        self._news.set()


def post(app: Any, path: str, body: object, headers: dict[str, str] | None = None, method: str = "POST") -> Call:
    """A call with a JSON body."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Call(app, method, path, (data,), headers)


def send(app: Any, path: str, body: object, headers: dict[str, str] | None = None, method: str = "POST") -> Call:
    """Send a JSON body and wait for the answer."""

    async def run() -> Call:
        return await post(app, path, body, headers, method).run()

    return asyncio.run(run())


def get(app: Any, path: str, method: str = "GET", headers: dict[str, str] | None = None) -> Call:
    """Get a path and wait for the answer."""

    async def run() -> Call:
        return await Call(app, method, path, headers=headers).run()

    return asyncio.run(run())


def events(body: bytes) -> list[Any]:
    """The events of a stream, in order; checks their framing."""
    *whole, rest = body.split(b"\n\n")
    assert rest == b"", "an event is cut off"
    assert all(event.startswith(b"data: ") and b"\n" not in event for event in whole)
    return ["[DONE]" if event == b"data: [DONE]" else json.loads(event[6:]) for event in whole]
