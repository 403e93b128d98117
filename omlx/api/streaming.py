"""From an engine's deltas to a client's answer, whole or streamed: what chat and completions have in common."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from fastapi import Request, Response
from pydantic import BaseModel
from starlette.types import Scope

from actors.contracts import Delta, Job
from actors.contracts import Usage as JobUsage
from actors.errors import EngineError
from omlx.api import sse
from omlx.api.asked_model import asked_model
from omlx.api.disconnect import unless_gone
from omlx.api.errors import reply_to
from omlx.api.exchange import Asked, Choice, Ended, Exchange, Logprobs, head_of, text_length, usage_of
from omlx.api.keep_alive import kept_alive
from omlx.api.openai import Chunk
from omlx.api.ports import Services
from omlx.metrics.requests import RequestMetrics


class Answering:
    """Answers requests, and counts what it answers.

    Args:
        services: Who finds the models and their answers.
        requests: What measures the answers as they come.
        keep_alive_seconds: How often a stream says that it lives, until its first event is there.
    """

    def __init__(self, services: Services, requests: RequestMetrics, keep_alive_seconds: float) -> None:
        self._services = services
        self._requests = requests
        self._keep_alive_seconds = keep_alive_seconds

    async def respond(self, asked: Asked, http: Request) -> Response:
        """The response to a request.

        A stream's first delta is awaited here, unless it is long in coming, so what fails before it still decides the status.
        Raises `OmlxError`, or `ClientDisconnect` when nobody waits any more.
        """
        asked.record.stream = asked.request.stream
        if not asked.request.stream:
            body = await unless_gone(http.receive, self._whole(asked))
            return Response(body.model_dump_json(), media_type="application/json")
        events = self._events(asked, http.scope)
        try:
            first = await unless_gone(http.receive, _first(events))
        except BaseException:
            await events.aclose()
            raise
        return sse.EventStream(first, events)

    async def _exchange(self, asked: Asked) -> Exchange:
        served = await asked_model(self._services, asked.request.model, asked.wording.endpoint)
        asked.record.model_id = served.model_id
        exchange = Exchange(asked, served, _shared_fairly(await asked.job(served), asked.record.key_id))
        asked.record.answer_id = exchange.job.request_id
        return exchange

    async def _deltas(self, exchange: Exchange) -> AsyncGenerator[Delta, None]:
        """The deltas up to the last one, which has the usage; the answer is closed however this ends."""
        with self._requests.metering(exchange.asked.record) as meter:
            answer = await self._services.submit(exchange.served, exchange.job)
            try:
                meter.taken(answer.prompt_tokens)
                async for delta in answer:
                    meter.add(delta)
                    yield delta
                    if delta.is_last:
                        return
                raise EngineError(answer.model_id, "its answer has no end")
            finally:
                await answer.close()

    async def _whole(self, asked: Asked) -> BaseModel:
        exchange = await self._exchange(asked)
        choices: list[list[Delta]] = [[] for _ in range(exchange.job.n)]
        usage = None
        async with aclosing(self._deltas(exchange)) as deltas:
            async for delta in deltas:
                choices[delta.index].append(delta)
                usage = delta.usage
        with_logprobs = exchange.job.sampling.logprobs is not None
        return asked.wording.whole(head_of(exchange), [_ended(each, with_logprobs) for each in choices], usage_of(usage))

    async def _events(self, asked: Asked, scope: Scope) -> AsyncGenerator[bytes, None]:
        """The stream's events, one or more at a time. Raises only before the first, which may be a sign of life."""
        started = False
        try:
            async with (
                aclosing(self._chunks(asked)) as chunks,
                aclosing(kept_alive(_first(chunks), self._keep_alive_seconds)) as beginning,
            ):
                async for events in beginning:
                    # A first delta without text yet still opens the stream, and so fixes the status.
                    started = True
                    yield events
                async for events in chunks:
                    if events:
                        yield events
        except Exception as error:
            if not started:
                raise
            yield sse.event(reply_to(error, scope).body().model_dump())

    async def _chunks(self, asked: Asked) -> AsyncGenerator[bytes, None]:
        """What each delta adds to the stream, if anything."""
        exchange = await self._exchange(asked)
        writer = ChunkWriter(exchange)
        async with aclosing(self._deltas(exchange)) as deltas:
            async for delta in deltas:
                yield writer.write(delta)


def _shared_fairly(job: Job, key_id: str) -> Job:
    """The job as one of its key: keys share an engine, and so do the users whom each names."""
    return replace(job, client=f"{key_id} {job.client}") if key_id else job


def _ended(deltas: Sequence[Delta], with_logprobs: bool) -> Ended:
    """A choice, given all its deltas."""
    finish_reason = deltas[-1].finish_reason
    assert finish_reason is not None
    logprobs = Logprobs([entry for delta in deltas for entry in delta.logprobs]) if with_logprobs else None
    return Ended(
        "".join(delta.text for delta in deltas),
        finish_reason,
        logprobs,
        "".join(delta.reasoning for delta in deltas),
        tuple(call for delta in deltas for call in delta.tool_calls),
    )


class ChunkWriter:
    """Words one stream's events; the choices' come as their tokens do."""

    def __init__(self, exchange: Exchange) -> None:
        self._wording = exchange.asked.wording
        self._head = head_of(exchange)
        self._include_usage = exchange.asked.request.stream_options.include_usage
        self._offsets: dict[int, int] = {}  # characters of the tokens so far, of each choice that has begun

    def write(self, delta: Delta) -> bytes:
        """What a delta adds, before a choice's first its opening, and after the last one all that ends a stream."""
        events = self._begin(delta.index)
        if delta.text or delta.logprobs or delta.reasoning or delta.tool_calls:
            events += self._event(self._wording.piece(delta, self._logprobs(delta)))
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
            chunk["usage"] = usage_of(usage).model_dump()
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


async def _first(events: AsyncGenerator[bytes, None]) -> bytes:
    return await anext(events)
