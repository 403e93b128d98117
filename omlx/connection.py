"""The ingress' end of one engine: its one stream, and the queue of each request that waits on it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from contextvars import Context
from typing import TypeVar

from actors.contracts import Delta, EmbedJob, EngineClient, Job, RerankJob, Scores, StepItem, Vectors
from actors.errors import EngineError, OmlxError, RequestTimeoutError
from scheduler.stats import SchedulerStats

_log = logging.getLogger(__name__)
_Item = Delta | EngineError
_Result = TypeVar("_Result")


class Answer:
    """One accepted request: its deltas as they come.

    Attributes:
        request_id: The job's.
        model_id: Who answers.
        prompt_tokens: How many tokens its prompt has.
    """

    def __init__(
        self, connection: "EngineConnection", request_id: str, prompt_tokens: int, queue: "asyncio.Queue[_Item]"
    ) -> None:
        self.request_id = request_id
        self.model_id = connection.model_id
        self.prompt_tokens = prompt_tokens
        self._connection = connection
        self._queue: asyncio.Queue[_Item] | None = queue

    async def __aiter__(self) -> AsyncIterator[Delta]:
        """The deltas of every choice, up to and with the request's last. Raises `EngineError` when the engine stops."""
        while self._queue is not None:
            item = await self._queue.get()
            if isinstance(item, EngineError):
                raise item
            if item.finish_reason == "timeout":
                raise RequestTimeoutError(item.error)
            if item.error is not None:
                raise EngineError(self.model_id, item.error)
            yield item
            if item.is_last:
                return

    async def close(self) -> None:
        """Abort the request unless it has ended. May be called again, and while being cancelled."""
        self._queue = None
        self._connection.leave(self.request_id)


class EngineConnection:
    """A consumer's stream from one engine, shared by all its requests. Belongs to one event loop.

    Args:
        model_id: What the engine serves.
        client: The engine.
        consumer: Who the stream belongs to: one id for the whole ingress.
        stepped: Called with the engine's numbers before and after each item.
        ended: Called once, when the stream has ended for whatever reason.
    """

    def __init__(
        self,
        model_id: str,
        client: EngineClient,
        consumer: str,
        stepped: Callable[[SchedulerStats, SchedulerStats], None],
        ended: Callable[["EngineConnection"], None],
    ) -> None:
        self.model_id = model_id
        self.stats = SchedulerStats()
        self._client = client
        self._consumer = consumer
        self._stepped, self._ended = stepped, ended
        self._queues: dict[str, asyncio.Queue[_Item]] = {}  # of requests whose last delta has not come
        self._calls = 0  # that wait for vectors, scores or numbers
        self._end: EngineError | None = None
        self._open = asyncio.Event()
        # Not in the context of the request that happens to be the first here: it serves them all, and longer.
        self._pump = asyncio.create_task(self._receive(), context=Context())
        self._aborts: set[asyncio.Task[None]] = set()

    @property
    def in_flight(self) -> int:
        """Requests that were sent, or wait to be, and have not ended."""
        return len(self._queues) + self._calls

    async def submit(self, job: Job) -> Answer:
        """Send a job. Raises `InvalidJobError`, or `EngineError` when the engine is gone."""
        queue = self._queues[job.request_id] = asyncio.Queue()
        try:
            await self._open.wait()
            if self._end is not None:
                raise self._end
            prompt_tokens = await self._client.submit(self._consumer, job)
        except asyncio.CancelledError:
            self.leave(job.request_id)
            raise
        except Exception:
            self._queues.pop(job.request_id, None)
            raise
        return Answer(self, job.request_id, prompt_tokens, queue)

    async def count(self, job: Job) -> int:
        """See `EngineClient.count`."""
        return await self._counted(self._client.count(job))

    async def embed(self, job: EmbedJob) -> Vectors:
        """See `EngineClient.embed`."""
        return await self._counted(self._client.embed(job))

    async def rerank(self, job: RerankJob) -> Scores:
        """See `EngineClient.rerank`."""
        return await self._counted(self._client.rerank(job))

    def leave(self, request_id: str) -> None:
        """Forget a request, and abort it in the engine unless it has ended."""
        if self._queues.pop(request_id, None) is None or self._end is not None or not self._open.is_set():
            return  # before the stream is open, nothing has been sent
        task = asyncio.get_running_loop().create_task(self._abort(request_id))
        self._aborts.add(task)
        task.add_done_callback(self._aborts.discard)

    async def close(self) -> None:
        """End the stream; the engine aborts what is left."""
        self._pump.cancel()
        with suppress(asyncio.CancelledError):
            await self._pump

    async def _counted(self, call: Awaitable[_Result]) -> _Result:
        # The stream need not be open: the call brings its own answer.
        self._calls += 1
        try:
            return await call
        finally:
            self._calls -= 1

    async def _receive(self) -> None:
        reason = EngineError(self.model_id, "it was shut down")
        try:
            async for data in self._client.stream(self._consumer):
                item = StepItem.decode(data)
                # What the engine did before this stream was opened isn't new.
                before = self.stats if self._open.is_set() else item.stats
                self._open.set()
                self._deliver(item)
                self._stepped(before, item.stats)
        except EngineError as error:
            reason = error
        finally:
            self._end = reason
            self._open.set()
            for queue in self._queues.values():
                queue.put_nowait(reason)
            self._ended(self)

    def _deliver(self, item: StepItem) -> None:
        self.stats = item.stats
        for delta in item.deltas:
            queue = self._queues.get(delta.request_id)
            if queue is None:
                continue  # its client left
            queue.put_nowait(delta)
            if delta.is_last:
                del self._queues[delta.request_id]

    async def _abort(self, request_id: str) -> None:
        try:
            await self._client.abort([request_id])
        except OmlxError as error:
            _log.debug("aborting %s: %s", request_id, error)
