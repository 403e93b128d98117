"""One model's engine: takes jobs, steps them on its own thread, and streams text back. A plain class, free of Ray."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from time import monotonic

from actors.contracts import Delta, EngineInfo, EngineOptions, EngineSpec, EngineUsage, Job, TokenLogprob
from actors.engine.answer import Answer, Choice
from actors.engine.backend import Backend, LoadBackend
from actors.engine.memory import process_bytes
from actors.engine.occupancy import Occupancy
from actors.engine.outbox import Outbox
from actors.engine.prompt import Prompt, read_prompt
from actors.engine.relay import StepRelay
from actors.engine.requests import requests_of
from actors.engine.step_thread import Abort, Add, Resize, StepCallbacks, StepThread, Stop
from actors.engine.text import AnswerText, check_parameters
from actors.engine.token_text import TokenTexts
from actors.errors import EngineError, InvalidJobError, InvalidSettingError, ModelLoadError, QueueFullError
from actors.ocr import family_of
from scheduler.queue_bound import QueueBound
from scheduler.request import FinishReason
from scheduler.scheduler import SchedulerConfig
from scheduler.stats import SchedulerStats
from scheduler.step import TokenEvent

_log = logging.getLogger(__name__)
_OVERTAKEN = 1024  # ids of aborts that found nothing: the jobs may still be on their way
_LAST_WORDS_SECONDS = 1.0  # for consumers to take what is left for them


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
        family = family_of(spec.model)
        self._layout = None if family is None else family.layout
        self._arriving: dict[str, Job] = {}  # by their ids: not answers yet
        self._aborted: dict[str, None] = {}  # ids of aborts that found nothing, the oldest first
        self._answers: dict[str, Answer] = {}  # by their jobs' ids
        self._choices: dict[str, Choice] = {}  # by the ids of the scheduler's requests
        self._outboxes: dict[str, Outbox] = {}
        self._stats = SchedulerStats()
        self._thread: StepThread | None = None
        self._loaded: asyncio.Future[Backend] | None = None
        self._load_seconds = 0.0
        self._device_bytes: Callable[[], int] | None = None
        self._token_texts: TokenTexts | None = None
        self._broken: str | None = None
        self._retired = False
        self._occupancy = Occupancy()
        self._bound = QueueBound(_most_held(spec.options))
        # One thread: a tokenizer is not to be called twice at once.
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
        if self._retired:
            raise EngineError(self.spec.model.model_id, "it takes no more requests")
        self._occupancy.begin()
        try:
            return await self._take(consumer, job)
        except BaseException:
            self._occupancy.end()
            raise

    async def _take(self, consumer: str, job: Job) -> int:
        self._arriving[job.request_id] = job
        try:
            backend, prompt = await self._encoded(job)
            if self._arriving.get(job.request_id) is not job:
                raise InvalidJobError(f"request {job.request_id!r} was aborted")
        finally:
            if self._arriving.get(job.request_id) is job:
                del self._arriving[job.request_id]
        requests = requests_of(backend, job, prompt)
        if self._broken is not None:
            raise EngineError(self.spec.model.model_id, self._broken)
        if consumer not in self._outboxes:
            raise InvalidJobError(f"consumer {consumer!r} has no stream open")
        if job.request_id in self._answers or any(request.request_id in self._choices for request in requests):
            raise InvalidJobError(f"request {job.request_id!r} is already here")
        self._check_room()  # again: others came while the prompt was encoded
        answer = Answer(job.request_id, consumer, len(prompt.token_ids), [request.request_id for request in requests])
        if job.timeout is not None:
            answer.timer = asyncio.get_running_loop().call_later(job.timeout, self._time_out, job.request_id, job.timeout)
        self._answers[job.request_id] = answer
        for index, request in enumerate(requests):
            text = AnswerText(backend.tokenizer, job.stop, self._layout, clean=job.clean_layout)
            self._choices[request.request_id] = Choice(answer, index, text)
        self._step_thread.put(Add(requests))
        return len(prompt.token_ids)

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
        outbox = Outbox(self._stats)
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

    async def usage(self) -> EngineUsage:
        """What it is doing, and what it takes."""
        taken = process_bytes() if self._device_bytes is None else self._device_bytes()
        return EngineUsage(self._occupancy.held, self._occupancy.idle_seconds, taken, self._retired)

    async def retire(self, *, only_if_idle: bool = False) -> bool:
        """Take no more jobs; see `actors.contracts.EngineClient`. Last words that nobody has fetched yet count as work too."""
        if only_if_idle and (self._occupancy.held or not all(outbox.is_empty for outbox in self._outboxes.values())):
            return False
        self._retired = True
        return True

    async def idle(self) -> None:
        """Return when no job is in flight, and its last words have been fetched, unless nobody comes for them."""
        await self._occupancy.empty()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_SECONDS):
                for outbox in tuple(self._outboxes.values()):
                    await outbox.emptied()

    async def configure(self, options: EngineOptions) -> None:
        """Have another batch and queue from the next step on; other options stay. Raises `InvalidSettingError`."""
        batch = options.max_concurrent_requests
        if batch < 1:
            raise InvalidSettingError("max_concurrent_requests", f"An engine answers at least 1 request at once, not {batch}.")
        changed = replace(self.spec.options, max_concurrent_requests=batch, max_queued_requests=options.max_queued_requests)
        self.spec = replace(self.spec, options=changed)
        self._bound.resize(_most_held(changed))
        if self._thread is not None:
            self._thread.put(Resize(batch))

    async def stop(self) -> None:
        """End the step thread and every stream; requests still running end without another word."""
        if self._thread is not None:
            self._thread.put(Stop())
            await asyncio.to_thread(self._thread.join)
        for outbox in self._outboxes.values():
            outbox.close()
        self._encoder.shutdown(wait=False, cancel_futures=True)

    async def _encoded(self, job: Job) -> tuple[Backend, Prompt]:
        """The model, loaded, and a job's prompt in its tokens. Raises `InvalidJobError` or `QueueFullError`."""
        backend = await self._backend()
        self._check_room()
        check_parameters(backend.vocabulary, job)
        loop = asyncio.get_running_loop()
        reading = partial(read_prompt, backend.tokenizer, backend.vocabulary, backend.pictures, job)
        return backend, await loop.run_in_executor(self._encoder, reading)

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
        options = self.spec.options
        backend = self._load_backend(self.spec.model, options)
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

    def _cut_off(self, answer: Answer) -> None:
        """End every choice that has not ended; nothing more is said of them."""
        for key in answer.running:
            del self._choices[key]
        self._step_thread.put(Abort(tuple(reversed(answer.running))))  # lest each in turn take over the prompt
        self._end(answer)

    def _end(self, answer: Answer) -> None:
        """Nothing of a job goes on."""
        del self._answers[answer.request_id]
        answer.end()
        self._occupancy.end()

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
        self._device_bytes = backend.device_bytes
        self._token_texts = TokenTexts(backend.tokenizer)
        self._occupancy.loaded()
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

    def _delta(self, choice: Choice, event: TokenEvent) -> Delta:
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

    def _last(self, choice: Choice, event: TokenEvent, text: str, reason: FinishReason) -> Delta:
        """A choice's last delta, which is its request's last when no other choice goes on."""
        answer = choice.answer
        del self._choices[event.request_id]
        answer.running.remove(event.request_id)
        if choice.index == 0:
            answer.first = event
        usage = None
        if not answer.running:
            usage = answer.usage()
            self._end(answer)
            self._bound.ended(monotonic())
        return Delta(answer.request_id, text, 1, reason.value, usage, None, self._logprobs(event), choice.index)

    def _logprobs(self, event: TokenEvent) -> tuple[TokenLogprob, ...]:
        if event.logprobs is None or event.finish_reason is FinishReason.STOP:
            return ()
        assert self._token_texts is not None
        return (self._token_texts.describe(event.logprobs),)

    def _put(self, answer: Answer, delta: Delta) -> None:
        outbox = self._outboxes.get(answer.consumer)
        if outbox is not None:
            outbox.put(delta)

    def _on_broke(self, error: Exception) -> None:
        self._broken = f"{type(error).__name__}: {error}"
        _log.critical("the engine of %s broke", self.spec.model.model_id, exc_info=error)
        message = str(EngineError(self.spec.model.model_id, self._broken))
        for request_id, answer in tuple(self._answers.items()):
            self._put(answer, Delta(request_id, finish_reason="error", error=message))
            self._end(answer)
        self._choices.clear()
        for outbox in self._outboxes.values():
            outbox.send(self._stats)
            outbox.close()
        self._on_broken(self._broken)


def _most_held(options: EngineOptions) -> int:
    return options.max_concurrent_requests + options.max_queued_requests
