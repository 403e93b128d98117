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
    """One choice of an answer, whole.

    Attributes:
        logprobs: Where the client asked for them.
    """

    text: str
    finish_reason: str
    logprobs: Logprobs | None


class Wording(Protocol):
    """How one endpoint words its answers."""

    @property
    def chunk_object(self) -> str:
        """What a chunk calls itself."""
        ...

    def opening(self, index: int) -> Choice | None:
        """What a streamed choice begins with, if anything."""
        ...

    def piece(self, index: int, text: str, logprobs: Logprobs | None) -> Choice:
        """More of a choice's text, and the logprobs of the tokens that came."""
        ...

    def ending(self, index: int, finish_reason: str) -> Choice:
        """The end of a choice's text."""
        ...

    def whole(self, head: Head, ended: Sequence[Ended], usage: Usage) -> BaseModel:
        """The answer in one, with all its choices in order."""
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
        """The deltas up to the last one, which has the usage; the answer is closed however this ends."""
        model_id = exchange.request.model
        answer = await self._services.submit(model_id, exchange.job)
        try:
            meter = RequestMeter(self._metrics, answer.model_id, answer.prompt_tokens, exchange.received)
            async for delta in answer:
                meter.add(delta.tokens)
                if delta.is_last and delta.finish_reason is not None:
                    meter.finish(delta.finish_reason)
                yield delta
                if delta.is_last:
                    return
            raise EngineError(model_id, "its answer has no end")
        finally:
            await answer.close()

    async def _whole(self, exchange: Exchange) -> BaseModel:
        choices: list[list[Delta]] = [[] for _ in range(exchange.job.n)]
        usage = None
        async with aclosing(self._deltas(exchange)) as deltas:
            async for delta in deltas:
                choices[delta.index].append(delta)
                usage = delta.usage
        with_logprobs = exchange.job.sampling.logprobs is not None
        return exchange.wording.whole(_head(exchange), [_ended(each, with_logprobs) for each in choices], _usage(usage))

    async def _events(self, exchange: Exchange, scope: Scope) -> AsyncGenerator[bytes, None]:
        """The stream's events, one or more at a time. Raises only before the first."""
        writer = ChunkWriter(exchange)
        started = False
        try:
            async with aclosing(self._deltas(exchange)) as deltas:
                async for delta in deltas:
                    events = writer.write(delta)
                    # A first delta without text yet still opens the stream, and so fixes the status.
                    if events or not started:
                        started = True
                        yield events
        except Exception as error:
            if not started:
                raise
            yield sse.event(reply_to(error, scope).body().model_dump())


def _ended(deltas: Sequence[Delta], with_logprobs: bool) -> Ended:
    """A choice, given all its deltas."""
    finish_reason = deltas[-1].finish_reason
    assert finish_reason is not None
    logprobs = Logprobs([entry for delta in deltas for entry in delta.logprobs]) if with_logprobs else None
    return Ended("".join(delta.text for delta in deltas), finish_reason, logprobs)


class ChunkWriter:
    """Words one stream's events; the choices' come as their tokens do."""

    def __init__(self, exchange: Exchange) -> None:
        self._wording = exchange.wording
        self._head = _head(exchange)
        self._include_usage = exchange.request.stream_options.include_usage
        self._offsets: dict[int, int] = {}  # characters of the tokens so far, of each choice that has begun

    def write(self, delta: Delta) -> bytes:
        """A delta's text and logprobs, before a choice's first its opening, and after the last one all that ends a stream."""
        events = self._begin(delta.index)
        if delta.text or delta.logprobs:
            events += self._event(self._wording.piece(delta.index, delta.text, self._logprobs(delta)))
        if delta.finish_reason is not None:
            events += self._event(self._wording.ending(delta.index, delta.finish_reason))
        return events + self._end(delta.usage) if delta.is_last else events

    def _begin(self, index: int) -> bytes:
        """What comes before a choice's first text; nothing once it has come."""
        if index in self._offsets:
            return b""
        self._offsets[index] = 0
        opening = self._wording.opening(index)
        return self._event(opening) if opening else b""

    def _end(self, usage: JobUsage | None) -> bytes:
        events = b""
        if self._include_usage:
            chunk = self._chunk([])
            chunk["usage"] = _usage(usage).model_dump()
            events += sse.event(chunk)
        return events + sse.DONE

    def _logprobs(self, delta: Delta) -> Logprobs | None:
        if not delta.logprobs:
            return None
        logprobs = Logprobs(delta.logprobs, self._offsets[delta.index])
        self._offsets[delta.index] += sum(text_length(entry.token) for entry in delta.logprobs)
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
