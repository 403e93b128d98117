"""One model's engine: takes jobs, steps them on its own thread, and streams text back. A plain class, free of Ray."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from time import monotonic

from actors.contracts import Delta, EngineInfo, EngineSpec, Job, TokenLogprob, Usage
from actors.engine.backend import Backend, LoadBackend
from actors.engine.outbox import Outbox
from actors.engine.relay import StepRelay
from actors.engine.step_thread import Abort, Add, StepCallbacks, StepThread, Stop
from actors.engine.text import AnswerText, check_parameters, encode_prompt, prompt_field
from actors.engine.token_text import TokenTexts
from actors.errors import ContextLengthError, EngineError, InvalidJobError, ModelLoadError, QueueFullError
from scheduler.queue_bound import QueueBound
from scheduler.request import FinishReason, Request
from scheduler.scheduler import SchedulerConfig
from scheduler.stats import SchedulerStats
from scheduler.step import TokenEvent

_log = logging.getLogger(__name__)
_OVERTAKEN = 1024  # ids of aborts that found nothing: the jobs may still be on their way


@dataclass(slots=True)
class _Answer:
    """A job that has not ended: whose it is, which of its choices go on, and what the others took.

    Attributes:
        running: The ids of the scheduler's requests that have not ended, one a choice, in order.
        first: The last event of the first choice, once that has ended.
    """

    request_id: str
    consumer: str
    prompt_tokens: int
    running: list[str]
    completion_tokens: int = 0
    first: TokenEvent | None = None
    timer: asyncio.TimerHandle | None = None

    def end(self) -> None:
        """Let nothing happen to it any more."""
        if self.timer is not None:
            self.timer.cancel()

    def usage(self) -> Usage:
        """What all of it took, once every choice has ended."""
        assert self.first is not None
        return Usage(
            self.prompt_tokens,
            self.completion_tokens,
            self.first.timing.queue,
            self.first.timing.prefill,
            self.first.decode,
            self.first.cached_tokens,
        )


@dataclass(frozen=True, slots=True)
class _Choice:
    """One choice of an answer that has not ended: which, and its text so far."""

    answer: _Answer
    index: int
    text: AnswerText


class Engine:
    """Everything runs on the event loop that `load` was first called on, but for the step thread.

    Args:
        spec: Who it is and what it serves.
        load_backend: Loads the model; called on the step thread.
        on_broken: Called once when the engine can't go on: its requests have been told, and its streams are ending.
    """

    def __init__(self, spec: EngineSpec, load_backend: LoadBackend, on_broken: Callable[[str], None]) -> None:
        self.spec = spec
        self._load_backend = load_backend
        self._on_broken = on_broken
        self._arriving: dict[str, Job] = {}  # by their ids: not answers yet
        self._aborted: dict[str, None] = {}  # ids of aborts that found nothing, the oldest first
        self._answers: dict[str, _Answer] = {}  # by their jobs' ids
        self._choices: dict[str, _Choice] = {}  # by the ids of the scheduler's requests
        self._outboxes: dict[str, Outbox] = {}
        self._stats = SchedulerStats()
        self._thread: StepThread | None = None
        self._loaded: asyncio.Future[Backend] | None = None
        self._load_seconds = 0.0
        self._token_texts: TokenTexts | None = None
        self._broken: str | None = None
        # One thread: a tokenizer is not to be called twice at once.
        options = spec.options
        self._bound = QueueBound(options.max_concurrent_requests + options.max_queued_requests)
        self._encoder = ThreadPoolExecutor(1, thread_name_prefix="omlx-encode")

    async def load(self) -> EngineInfo:
        """Load the model if it isn't yet; any number may wait for one load. Raises `ModelLoadError`."""
        backend = await self._backend()
        return EngineInfo(
            engine_id=self.spec.engine_id,
            model_id=self.spec.model.model_id,
            pid=os.getpid(),
            device=backend.device,
            context_length=backend.context_length,
            load_seconds=self._load_seconds,
            warnings=backend.warnings,
        )

    async def submit(self, consumer: str, job: Job) -> int:
        """Queue a job; see `actors.contracts.EngineClient`."""
        if job.request_id in self._aborted:
            del self._aborted[job.request_id]
            raise InvalidJobError(f"request {job.request_id!r} was aborted")
        self._arriving[job.request_id] = job
        try:
            backend, prompt = await self._encoded(job)
            if self._arriving.get(job.request_id) is not job:
                raise InvalidJobError(f"request {job.request_id!r} was aborted")
        finally:
            if self._arriving.get(job.request_id) is job:
                del self._arriving[job.request_id]
        if len(prompt) >= backend.context_length:
            raise ContextLengthError(len(prompt), backend.context_length, prompt_field(job))
        if self._broken is not None:
            raise EngineError(self.spec.model.model_id, self._broken)
        if consumer not in self._outboxes:
            raise InvalidJobError(f"consumer {consumer!r} has no stream open")
        requests = _requests(backend, job, prompt)
        if job.request_id in self._answers or any(request.request_id in self._choices for request in requests):
            raise InvalidJobError(f"request {job.request_id!r} is already here")
        self._check_room()  # again: others came while the prompt was encoded
        answer = _Answer(job.request_id, consumer, len(prompt), [request.request_id for request in requests])
        if job.timeout is not None:
            answer.timer = asyncio.get_running_loop().call_later(job.timeout, self._time_out, job.request_id, job.timeout)
        self._answers[job.request_id] = answer
        for index, request in enumerate(requests):
            self._choices[request.request_id] = _Choice(answer, index, AnswerText(backend.tokenizer, job.stop))
        self._step_thread.put(Add(requests))
        return len(prompt)

    async def abort(self, request_ids: Sequence[str]) -> None:
        """End requests; one whose job comes later never runs."""
        for request_id in request_ids:
            arriving = self._arriving.pop(request_id, None)
            answer = self._answers.get(request_id)
            if answer is not None:
                self._cut_off(answer)
            elif arriving is None:
                self._aborted[request_id] = None
                if len(self._aborted) > _OVERTAKEN:
                    del self._aborted[next(iter(self._aborted))]

    async def stream(self, consumer: str) -> AsyncIterator[bytes]:
        """The one stream of a consumer; see `actors.contracts.EngineClient`."""
        outbox = Outbox()
        earlier = self._outboxes.get(consumer)
        if earlier is not None:
            earlier.close()
        self._outboxes[consumer] = outbox
        if self._broken is not None:
            outbox.close()
        try:
            while (item := await outbox.take()) is not None:
                yield item
        finally:
            if self._outboxes.get(consumer) is outbox:
                del self._outboxes[consumer]
                await self.abort([key for key, answer in self._answers.items() if answer.consumer == consumer])

    async def stop(self) -> None:
        """End the step thread and every stream; requests still running end without another word."""
        if self._thread is not None:
            self._thread.put(Stop())
            await asyncio.to_thread(self._thread.join)
        for outbox in self._outboxes.values():
            outbox.close()
        self._encoder.shutdown(wait=False, cancel_futures=True)

    async def _encoded(self, job: Job) -> tuple[Backend, tuple[int, ...]]:
        """The model, loaded, and a job's prompt in its tokens. Raises `InvalidJobError` or `QueueFullError`."""
        backend = await self._backend()
        self._check_room()
        check_parameters(backend.vocabulary, job)
        loop = asyncio.get_running_loop()
        return backend, await loop.run_in_executor(self._encoder, encode_prompt, backend.tokenizer, backend.vocabulary, job)

    async def _backend(self) -> Backend:
        if self._loaded is None:
            self._start_loading()
        assert self._loaded is not None
        return await asyncio.shield(self._loaded)

    @property
    def _step_thread(self) -> StepThread:
        assert self._thread is not None
        return self._thread

    def _start_loading(self) -> None:
        loop = asyncio.get_running_loop()
        self._loaded = loop.create_future()
        began = monotonic()

        def loaded(backend: Backend) -> None:
            loop.call_soon_threadsafe(self._on_loaded, backend, monotonic() - began)

        def load_failed(error: Exception) -> None:
            loop.call_soon_threadsafe(self._on_load_failed, error)

        def broke(error: Exception) -> None:
            loop.call_soon_threadsafe(self._on_broke, error)

        self._thread = StepThread(
            load=self._load_on_thread,
            callbacks=StepCallbacks(loaded, load_failed, StepRelay(loop, self._on_steps).put, broke),
        )
        self._thread.start()

    def _load_on_thread(self) -> tuple[Backend, SchedulerConfig]:
        """The model, and the scheduler's bounds for it. Its context is what the KV budget has room for, at the most."""
        backend = self._load_backend(self.spec.model)
        options = self.spec.options
        budget = options.kv_cache_bytes or backend.kv_budget
        if budget is not None:
            fits = backend.kv_cost.tokens_within(budget, backend.context_length)
            if fits < 2:
                raise ValueError(f"{budget} bytes for its KV cache don't hold two tokens")
            backend = replace(backend, context_length=fits)
        config = SchedulerConfig(
            max_num_seqs=options.max_concurrent_requests,
            max_decode_stall=(options.max_decode_stall_ms or backend.max_decode_stall * 1000) / 1000,
            kv_cost=backend.kv_cost,
            kv_budget=budget,
            reuse_kv=backend.reuse_kv,
            checkpoints=backend.checkpoints,
        )
        return backend, config

    def _check_room(self) -> None:
        held = len(self._answers)
        retry_after = self._bound.retry_after(held, monotonic())
        if retry_after is not None:
            waiting = held - self.spec.options.max_concurrent_requests
            raise QueueFullError(self.spec.model.model_id, waiting, retry_after)

    def _cut_off(self, answer: _Answer) -> None:
        """End every choice that has not ended; nothing more is said of them."""
        for key in answer.running:
            del self._choices[key]
        self._step_thread.put(Abort(tuple(reversed(answer.running))))  # lest each in turn take over the prompt
        del self._answers[answer.request_id]
        answer.end()

    def _time_out(self, request_id: str, seconds: float) -> None:
        answer = self._answers[request_id]
        self._cut_off(answer)
        self._bound.ended(monotonic())
        message = f"The request was ended after the {seconds:g} s that its 'timeout' allows."
        self._put(answer, Delta(request_id, finish_reason="timeout", error=message))
        outbox = self._outboxes.get(answer.consumer)
        if outbox is not None:
            outbox.send(self._stats)

    def _on_loaded(self, backend: Backend, seconds: float) -> None:
        assert self._loaded is not None
        self._load_seconds = seconds
        self._token_texts = TokenTexts(backend.tokenizer)
        _log.info("loaded %s on %s in %.1f s", self.spec.model.model_id, backend.device, seconds)
        self._loaded.set_result(backend)

    def _on_load_failed(self, error: Exception) -> None:
        assert self._loaded is not None
        _log.error("loading %s failed", self.spec.model.model_id, exc_info=error)
        self._loaded.set_exception(ModelLoadError(self.spec.model.model_id, f"{type(error).__name__}: {error}"))
        self._loaded.exception()  # it is the waiters' to report; there may be none left

    def _on_steps(self, events: Sequence[TokenEvent], stats: SchedulerStats) -> None:
        self._stats = stats
        for event in events:
            choice = self._choices.get(event.request_id)
            if choice is not None:  # else it was aborted meanwhile
                self._put(choice.answer, self._delta(choice, event))
        for outbox in self._outboxes.values():
            outbox.send(stats)

    def _delta(self, choice: _Choice, event: TokenEvent) -> Delta:
        choice.answer.completion_tokens += 1
        ends_by_token = event.finish_reason is FinishReason.STOP
        text = "" if ends_by_token else choice.text.add(event.token)
        if choice.text.stopped:
            if event.finish_reason is None:
                self._step_thread.put(Abort((event.request_id,)))
            return self._last(choice, event, text, FinishReason.STOP)
        if event.finish_reason is not None:
            return self._last(choice, event, text + choice.text.finish(), event.finish_reason)
        return Delta(choice.answer.request_id, text, 1, logprobs=self._logprobs(event), index=choice.index)

    def _last(self, choice: _Choice, event: TokenEvent, text: str, reason: FinishReason) -> Delta:
        """A choice's last delta, which is its request's last when no other choice goes on."""
        answer = choice.answer
        del self._choices[event.request_id]
        answer.running.remove(event.request_id)
        if choice.index == 0:
            answer.first = event
        usage = None
        if not answer.running:
            usage = answer.usage()
            del self._answers[answer.request_id]
            answer.end()
            self._bound.ended(monotonic())
        return Delta(answer.request_id, text, 1, reason.value, usage, None, self._logprobs(event), choice.index)

    def _logprobs(self, event: TokenEvent) -> tuple[TokenLogprob, ...]:
        if event.logprobs is None or event.finish_reason is FinishReason.STOP:
            return ()
        assert self._token_texts is not None
        return (self._token_texts.describe(event.logprobs),)

    def _put(self, answer: _Answer, delta: Delta) -> None:
        outbox = self._outboxes.get(answer.consumer)
        if outbox is not None:
            outbox.put(delta)

    def _on_broke(self, error: Exception) -> None:
        self._broken = f"{type(error).__name__}: {error}"
        _log.critical("the engine of %s broke", self.spec.model.model_id, exc_info=error)
        message = str(EngineError(self.spec.model.model_id, self._broken))
        for request_id, answer in self._answers.items():
            answer.end()
            self._put(answer, Delta(request_id, finish_reason="error", error=message))
        self._answers.clear()
        self._choices.clear()
        for outbox in self._outboxes.values():
            outbox.send(self._stats)
            outbox.close()
        self._on_broken(self._broken)


def _requests(backend: Backend, job: Job, prompt: tuple[int, ...]) -> tuple[Request, ...]:
    """What the scheduler gets for a job: a request a choice, the first with the job's own id."""
    room = backend.context_length - len(prompt)
    max_tokens = min(job.max_tokens or room, room)
    return tuple(
        Request(
            request_id=f"{job.request_id}/{index}" if index else job.request_id,
            prompt=prompt,
            max_tokens=max_tokens,
            stop_token_ids=_stop_token_ids(backend, job),
            sampling=job.sampling.for_choice(index),
            min_tokens=min(job.min_tokens, max_tokens),
            priority=job.priority,
            client=job.client,
        )
        for index in range(job.n)
    )


def _stop_token_ids(backend: Backend, job: Job) -> frozenset[int]:
    """The tokens that end a job's answer; what a tokenizer knows beyond the model's own vocabulary can't come."""
    own = () if job.ignore_eos else (token for token in backend.stop_token_ids if token < backend.vocabulary)
    return frozenset((*own, *job.stop_token_ids))
