"""From an engine's deltas to a client's answer, whole or streamed: what chat and completions have in common."""

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from fastapi import Request, Response
from pydantic import BaseModel
from starlette.types import Scope

from actors.contracts import Delta, Job, LikelyToken, TokenLogprob
from actors.contracts import Usage as JobUsage
from actors.errors import EngineError
from omlx import __version__
from omlx.api import sse
from omlx.api.disconnect import unless_gone
from omlx.api.errors import reply_to
from omlx.api.openai import (
    ChatChunkChoice,
    Chunk,
    CompletionChunkChoice,
    GenerationRequest,
    Head,
    PromptTokensDetails,
    Usage,
)
from omlx.api.ports import Services
from omlx.metrics.registry import Metrics, RequestMeter

SYSTEM_FINGERPRINT = f"fp_{sha256(f'omlx {__version__}'.encode()).hexdigest()[:10]}"

Choice = ChatChunkChoice | CompletionChunkChoice


@dataclass(frozen=True, slots=True)
class Logprobs:
    """The logprobs of some tokens in a row.

    Attributes:
        offset: Where in the answer the first begins, in characters.
    """

    tokens: Sequence[TokenLogprob]
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Ended:
    """A whole answer.

    Attributes:
        logprobs: Where the client asked for them.
    """

    text: str
    finish_reason: str
    usage: Usage
    logprobs: Logprobs | None


class Wording(Protocol):
    """How one endpoint words its answers."""

    @property
    def chunk_object(self) -> str:
        """What a chunk calls itself."""
        ...

    def opening(self) -> Choice | None:
        """What a stream begins with, if anything."""
        ...

    def piece(self, text: str, logprobs: Logprobs | None) -> Choice:
        """More text, and the logprobs of the tokens that came."""
        ...

    def ending(self, finish_reason: str) -> Choice:
        """The end of the text."""
        ...

    def whole(self, head: Head, ended: Ended) -> BaseModel:
        """The answer in one."""
        ...


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request as it was read, and how its answer is to be worded.

    Attributes:
        received: When it arrived, on the monotonic clock.
    """

    request: GenerationRequest
    job: Job
    wording: Wording
    received: float


class Answering:
    """Answers requests, and counts what it answers."""

    def __init__(self, services: Services, metrics: Metrics) -> None:
        self._services = services
        self._metrics = metrics

    async def respond(self, exchange: Exchange, http: Request) -> Response:
        """The response to a request.

        A stream's first delta is awaited here, so what fails before it still decides the status. Raises `OmlxError`, or
        `ClientDisconnect` when nobody waits any more.
        """
        if not exchange.request.stream:
            body = await unless_gone(http.receive, self._whole(exchange))
            return Response(body.model_dump_json(), media_type="application/json")
        events = self._events(exchange, http.scope)
        try:
            first = await unless_gone(http.receive, _first(events))
        except BaseException:
            await events.aclose()
            raise
        return sse.EventStream(first, events)

    async def _deltas(self, exchange: Exchange) -> AsyncGenerator[Delta, None]:
        """The deltas up to the last one, which has its usage; the answer is closed however this ends."""
        model_id = exchange.request.model
        answer = await self._services.submit(model_id, exchange.job)
        try:
            meter = RequestMeter(self._metrics, answer.model_id, answer.prompt_tokens, exchange.received)
            async for delta in answer:
                meter.add(delta.tokens)
                if delta.finish_reason is not None:
                    meter.finish(delta.finish_reason)
                yield delta
                if delta.finish_reason is not None:
                    return
            raise EngineError(model_id, "its answer has no end")
        finally:
            await answer.close()

    async def _whole(self, exchange: Exchange) -> BaseModel:
        texts = []
        tokens: list[TokenLogprob] = []
        async with aclosing(self._deltas(exchange)) as deltas:
            async for delta in deltas:
                texts.append(delta.text)
                tokens += delta.logprobs
                if delta.finish_reason is not None:
                    logprobs = Logprobs(tokens) if exchange.job.sampling.logprobs is not None else None
                    ended = Ended("".join(texts), delta.finish_reason, _usage(delta.usage), logprobs)
                    return exchange.wording.whole(_head(exchange), ended)
        raise AssertionError("the last delta has a finish reason")

    async def _events(self, exchange: Exchange, scope: Scope) -> AsyncGenerator[bytes, None]:
        """The stream's events, one or more at a time. Raises only before the first."""
        writer = ChunkWriter(exchange)
        started = False
        try:
            async with aclosing(self._deltas(exchange)) as deltas:
                async for delta in deltas:
                    events = writer.write(delta) if started else writer.open() + writer.write(delta)
                    # A first delta without text yet still opens the stream, and so fixes the status.
                    if events or not started:
                        started = True
                        yield events
        except Exception as error:
            if not started:
                raise
            yield sse.event(reply_to(error, scope).body().model_dump())


class ChunkWriter:
    """Words one stream's events."""

    def __init__(self, exchange: Exchange) -> None:
        self._wording = exchange.wording
        self._head = _head(exchange)
        self._include_usage = exchange.request.stream_options.include_usage
        self._offset = 0  # characters of the tokens so far

    def open(self) -> bytes:
        """What comes before the first text."""
        opening = self._wording.opening()
        return self._event(opening) if opening else b""

    def write(self, delta: Delta) -> bytes:
        """A delta's text and logprobs, and after the last one all that ends a stream."""
        events = self._event(self._wording.piece(delta.text, self._logprobs(delta))) if delta.text or delta.logprobs else b""
        if delta.finish_reason is None:
            return events
        events += self._event(self._wording.ending(delta.finish_reason))
        if self._include_usage:
            chunk = self._chunk([])
            chunk["usage"] = _usage(delta.usage).model_dump()
            events += sse.event(chunk)
        return events + sse.DONE

    def _logprobs(self, delta: Delta) -> Logprobs | None:
        if not delta.logprobs:
            return None
        logprobs = Logprobs(delta.logprobs, self._offset)
        self._offset += sum(text_length(entry.token) for entry in delta.logprobs)
        return logprobs

    def _event(self, choice: Choice) -> bytes:
        chunk = self._chunk([choice])
        if self._include_usage:
            chunk["usage"] = None
        return sse.event(chunk)

    def _chunk(self, choices: list[Choice]) -> Chunk:
        head = self._head
        return {
            "id": head["id"],
            "object": self._wording.chunk_object,
            "created": head["created"],
            "model": head["model"],
            "system_fingerprint": head["system_fingerprint"],
            "choices": choices,
        }


def text_length(token: LikelyToken) -> int:
    """How many characters begin with a token: over many tokens this adds up, wherever they cut characters."""
    if token.bytes is None:
        return len(token.text)
    return sum(byte & 0xC0 != 0x80 for byte in token.bytes)  # all but UTF-8's continuation bytes


async def _first(events: AsyncGenerator[bytes, None]) -> bytes:
    return await anext(events)


def _head(exchange: Exchange) -> Head:
    return {
        "id": exchange.job.request_id,
        "created": int(time.time()),
        "model": exchange.request.model,
        "system_fingerprint": SYSTEM_FINGERPRINT,
    }


def _usage(usage: JobUsage | None) -> Usage:
    assert usage is not None
    return Usage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.prompt_tokens + usage.completion_tokens,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=usage.cached_tokens),
    )
