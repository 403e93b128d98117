"""A streaming client that notes when each piece of an answer came, and the loops that send requests with it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson

from benchmarks.workloads import Prompt

_DONE = b"data: [DONE]"


@dataclass(slots=True)
class Measured:
    """One answer and its times.

    Attributes:
        sent: When the request went out, seconds of the monotonic clock.
        text: The whole answer.
        arrivals: When each content chunk came, same clock.
        done: When the stream ended.
        prompt_tokens, completion_tokens: As the server counted them.
        error: What went wrong, if anything did.
    """

    sent: float
    text: str = ""
    arrivals: list[float] = field(default_factory=list)
    done: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    error: str | None = None

    @property
    def ttft(self) -> float:
        """Seconds to the first content chunk."""
        return self.arrivals[0] - self.sent

    @property
    def gaps(self) -> list[float]:
        """Seconds between one content chunk and the next."""
        return [later - earlier for earlier, later in zip(self.arrivals, self.arrivals[1:], strict=False)]

    @property
    def seconds(self) -> float:
        """Seconds to the end of the stream."""
        return self.done - self.sent


async def chat(client: httpx.AsyncClient, url: str, body: dict[str, Any]) -> Measured:
    """Send one chat request as a stream, and read it to its end; a failure is a measurement too."""
    body = body | {"stream": True, "stream_options": {"include_usage": True}}
    measured = Measured(sent=time.monotonic())
    try:
        async with client.stream("POST", f"{url}/v1/chat/completions", json=body) as response:
            if response.status_code != 200:
                measured.error = (await response.aread()).decode() or f"status {response.status_code}"
            else:
                await _read(measured, response)
    except httpx.HTTPError as error:
        measured.error = f"{type(error).__name__}: {error}"
    measured.done = time.monotonic()
    return measured


Ask = Callable[[Prompt], Awaitable[Measured]]


async def closed_loop(ask: Ask, prompts: Sequence[Prompt], clients: int) -> list[Measured]:
    """So many clients, each sending its next request when it has the answer to its last, until the prompts are used up."""
    left = iter(prompts)
    answers: list[Measured] = []

    async def one_client() -> None:
        answers.extend([await ask(prompt) for prompt in left])

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(one_client())
    return answers


async def open_loop(ask: Ask, prompts: Sequence[Prompt]) -> list[Measured]:
    """Each prompt at its own time, whatever became of the earlier ones."""
    began = time.monotonic()

    async def at_its_time(prompt: Prompt) -> Measured:
        await asyncio.sleep(began + prompt.at - time.monotonic())
        return await ask(prompt)

    return list(await asyncio.gather(*(at_its_time(prompt) for prompt in prompts)))


async def _read(measured: Measured, response: httpx.Response) -> None:
    rest = b""
    complete = False
    async for data in response.aiter_bytes():
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            complete = complete or line.rstrip() == _DONE
            _take(measured, line.rstrip())
    if not complete and measured.error is None:
        measured.error = "the stream ended early"


def _take(measured: Measured, line: bytes) -> None:
    if not line.startswith(b"data: ") or line == _DONE:
        return
    event = orjson.loads(line.removeprefix(b"data: "))
    if "error" in event:
        measured.error = str(event["error"])
        return
    if event.get("usage"):
        measured.prompt_tokens = event["usage"]["prompt_tokens"]
        measured.completion_tokens = event["usage"]["completion_tokens"]
    for choice in event["choices"]:
        if choice["delta"].get("content"):
            measured.text += choice["delta"]["content"]
            measured.arrivals.append(time.monotonic())
