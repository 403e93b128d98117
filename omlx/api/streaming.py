"""From an engine's deltas to a client's answer, whole or streamed: what all that generates has in common."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from time import monotonic

from fastapi import Request, Response
from pydantic import BaseModel
from starlette.types import Scope

from actors.contracts import Delta, Job
from actors.errors import EngineError
from omlx.api import sse
from omlx.api.asked_model import asked_model
from omlx.api.disconnect import unless_gone
from omlx.api.errors import reply_to
from omlx.api.exchange import Asked, Ended, Exchange, Logprobs
from omlx.api.keep_alive import kept_alive
from omlx.api.ports import Services
from omlx.metrics.requests import RequestMetrics


class Answering:
    """Answers requests, and counts what it answers.

    Args:
        services: Who finds the models and their answers.
        requests: What measures the answers as they come.
        keep_alive_seconds: After how long without an event a stream says that it lives.
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
        assert usage is not None
        return asked.wording.whole(exchange, [_ended(each, with_logprobs) for each in choices], usage)

    async def _events(self, asked: Asked, scope: Scope) -> AsyncGenerator[bytes, None]:
        """The stream's events, one or more at a time. Raises only before the first, which may be a sign of life."""
        started, seconds, sign = False, self._keep_alive_seconds, asked.wording.sign_of_life
        try:
            async with (
                aclosing(self._chunks(asked)) as chunks,
                aclosing(kept_alive(_first(chunks), seconds, sign)) as beginning,
            ):
                async for events in beginning:
                    # A first delta without text yet still opens the stream, and so fixes the status.
                    started = True
                    yield events
                said = monotonic()
                async for events in chunks:
                    if events or monotonic() - said >= seconds:  # a long call is sent when it is whole
                        yield events or sign
                        said = monotonic()
        except Exception as error:
            if not started:
                raise
            yield asked.wording.failure(reply_to(error, scope))

    async def _chunks(self, asked: Asked) -> AsyncGenerator[bytes, None]:
        """What each delta adds to the stream, if anything."""
        exchange = await self._exchange(asked)
        writer = asked.wording.writer(exchange)
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
        deltas[-1].stop_text,
    )


async def _first(events: AsyncGenerator[bytes, None]) -> bytes:
    return await anext(events)
