"""A streaming client that notes when each piece of an answer came, and the loops that send requests with it.

It costs little while a server is measured: a stream's bytes are kept as they come, and read when it is over.
"""

import asyncio
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any, TypeVar
from urllib.parse import urlsplit

import orjson

from benchmarks.workloads import Prompt

_DONE = b"data: [DONE]"
_SECONDS = 600  # that an answer may take

Result = TypeVar("Result")


@dataclass(slots=True)
class Measured:
    """One answer and its times.

    Attributes:
        sent: When the request went out, seconds of the monotonic clock.
        text: The whole answer.
        arrivals: When each content chunk came, same clock.
        done: When the stream ended.
        prompt_tokens, completion_tokens, cached_tokens: As the server counted them; the last are prompt tokens that it
            did not have to compute.
        error: What went wrong, if anything did.
    """

    sent: float
    text: str = ""
    arrivals: list[float] = field(default_factory=list)
    done: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    error: str | None = None
    cached_tokens: int = 0

    @property
    def ttft(self) -> float:
        """Seconds to the first content chunk."""
        return self.arrivals[0] - self.sent

    @property
    def gaps(self) -> list[float]:
        """Seconds between one content chunk and the next."""
        return [later - earlier for earlier, later in pairwise(self.arrivals)]

    @property
    def seconds(self) -> float:
        """Seconds to the end of the stream."""
        return self.done - self.sent


@dataclass(slots=True)
class Recording:
    """A response as it came over the wire.

    Attributes:
        sent: When the request went out, seconds of the monotonic clock.
        pieces: What came, and when.
        done: When the connection closed.
        error: Why nothing more came, if that wasn't the server's choice.
    """

    sent: float = 0.0
    pieces: list[tuple[float, bytes]] = field(default_factory=list)
    done: float = 0.0
    error: str | None = None

    def read(self) -> Measured:
        """What it says."""
        measured = Measured(self.sent, done=self.done, error=self.error)
        head, _, rest = b"".join(data for _, data in self.pieces).partition(b"\r\n\r\n")
        status, *headers = head.lower().split(b"\r\n")
        body = list(self._body(len(head) + 4, rest, chunked=b"transfer-encoding: chunked" in headers))
        if status.split()[1:2] == [b"200"]:
            _read(measured, body)
        elif measured.error is None:
            measured.error = b"".join(data for _, data in body).decode() or status.decode() or "the server closed the connection"
        return measured

    def _body(self, start: int, data: bytes, *, chunked: bool) -> Iterator[tuple[float, bytes]]:
        """The body by chunks, or by pieces where it isn't chunked, each with the time when the last of it came."""
        times = [at for at, _ in self.pieces]
        ends = [end - start for end in accumulate(len(piece) for _, piece in self.pieces)]
        spans = _chunks(data) if chunked else pairwise((0, *(end for end in ends if end > 0)))
        for begin, end in spans:
            yield times[bisect_left(ends, end)], data[begin:end]


class _Tap(asyncio.Protocol):
    """A connection that sends one request and keeps what comes back."""

    def __init__(self, request: bytes, recording: Recording) -> None:
        self._request = request
        self._pieces = recording.pieces
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._pieces.append((time.monotonic(), data))

    def connection_lost(self, exc: Exception | None) -> None:
        if self.closed.done():
            return
        if exc is None:
            self.closed.set_result(None)
        else:
            self.closed.set_exception(exc)


def greedy(model: str, text: str, max_tokens: int, *, ignore_eos: bool = False) -> dict[str, Any]:
    """A chat request with one message; with `ignore_eos`, only its length ends the answer where the server can do that."""
    messages = [{"role": "user", "content": text}]
    body = {"model": model, "messages": messages, "temperature": 0, "max_tokens": max_tokens}
    return body | {"ignore_eos": True} if ignore_eos else body


async def record(url: str, body: Mapping[str, Any], recording: Recording | None = None) -> Recording:
    """Send one chat request as a stream, and keep what comes until its end; a failure is a measurement too.

    Args:
        recording: A new one, to be watched while it grows.
    """
    address = urlsplit(url).netloc
    host, _, port = address.partition(":")
    content = orjson.dumps({**body, "stream": True, "stream_options": {"include_usage": True}})
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    )
    recording = recording or Recording()
    recording.sent = time.monotonic()
    try:
        async with asyncio.timeout(_SECONDS):
            transport, tap = await asyncio.get_running_loop().create_connection(
                lambda: _Tap(head.encode() + content, recording), host, int(port)
            )
            try:
                await tap.closed
            finally:
                transport.abort()
    except OSError as error:  # a timeout is one, too
        recording.error = f"{type(error).__name__}: {error}"
    recording.done = time.monotonic()
    return recording


async def chat(url: str, body: Mapping[str, Any]) -> Measured:
    """Send one chat request as a stream, and read its answer."""
    return (await record(url, body)).read()


async def closed_loop(ask: Callable[[Prompt], Awaitable[Result]], prompts: Sequence[Prompt], clients: int) -> list[Result]:
    """So many clients, each sending its next request when it has the answer to its last, until the prompts are used up."""
    left = iter(prompts)
    answers: list[Result] = []

    async def one_client() -> None:
        answers.extend([await ask(prompt) for prompt in left])

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(one_client())
    return answers


async def open_loop(ask: Callable[[Prompt], Awaitable[Result]], prompts: Sequence[Prompt]) -> list[Result]:
    """Each prompt at its own time, whatever became of the earlier ones."""
    began = time.monotonic()

    async def at_its_time(prompt: Prompt) -> Result:
        await asyncio.sleep(began + prompt.at - time.monotonic())
        return await ask(prompt)

    return list(await asyncio.gather(*(at_its_time(prompt) for prompt in prompts)))


def _chunks(data: bytes) -> Iterator[tuple[int, int]]:
    """Where the contents of HTTP's chunks begin and end, up to the last whole one."""
    at = 0
    while (size_end := data.find(b"\r\n", at)) >= 0:
        begin = size_end + 2
        end = begin + int(data[at:size_end].partition(b";")[0], 16)
        if end > len(data):
            return
        yield begin, end
        at = end + 2


def _read(measured: Measured, body: Sequence[tuple[float, bytes]]) -> None:
    rest = b""
    complete = False
    for at, data in body:
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            complete = complete or line.rstrip() == _DONE
            _take(measured, line.rstrip(), at)
    if not complete and measured.error is None:
        measured.error = "the stream ended early"


def _take(measured: Measured, line: bytes, at: float) -> None:
    if not line.startswith(b"data: ") or line == _DONE:
        return
    event = orjson.loads(line.removeprefix(b"data: "))
    if "error" in event:
        measured.error = str(event["error"])
        return
    usage = event.get("usage")
    if usage:
        measured.prompt_tokens = usage["prompt_tokens"]
        measured.completion_tokens = usage["completion_tokens"]
        measured.cached_tokens = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    for choice in event["choices"]:
        if choice["delta"].get("content"):
            measured.text += choice["delta"]["content"]
            measured.arrivals.append(at)
