"""One model's engine: takes jobs, steps them on its own thread, and streams text back. A plain class, free of Ray."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from time import monotonic

from actors.contracts import ChatPrompt, Delta, EmbedJob, EngineSpec, Job, RerankJob, Scores, TokenLogprob, Vectors
from actors.engine.answer import Answer, Choice
from actors.engine.answer_text import AnswerText
from actors.engine.backend import Backend, LoadBackend
from actors.engine.base import EngineBase
from actors.engine.model_thread import Loading
from actors.engine.prompt import Prompt, read_prompt
from actors.engine.relay import StepRelay
from actors.engine.requests import requests_of
from actors.engine.splitter import Said, Splitter, joined
from actors.engine.step_thread import Abort, Add, Resize, StepThread
from actors.engine.text import check_parameters
from actors.engine.token_text import TokenTexts
from actors.engine.tool_calls import CallReader
from actors.errors import EngineError, InvalidJobError
from actors.ocr import family_of
from scheduler.request import FinishReason
from scheduler.scheduler import SchedulerConfig
from scheduler.stats import SchedulerStats
from scheduler.step import TokenEvent

_OVERTAKEN = 1024  # ids of aborts that found nothing: the jobs may still be on their way


class Engine(EngineBase[Backend]):
    """For models that generate. Everything runs on the event loop that `load` was first called on, but for the step thread.

    Args:
        spec: Who it is and what it serves.
        load_backend: Loads the model; called on the step thread.
        on_broken: Called once when the engine can't go on: its requests have been told, and its streams are ending.
    """

    def __init__(self, spec: EngineSpec, load_backend: LoadBackend, on_broken: Callable[[str], None]) -> None:
        super().__init__(spec, on_broken)
        self._load_backend = load_backend
        family = family_of(spec.model)
        self._layout = None if family is None else family.layout
        self._arriving: dict[str, Job] = {}  # by their ids: not answers yet
        self._aborted: dict[str, None] = {}  # ids of aborts that found nothing, the oldest first
        self._answers: dict[str, Answer] = {}  # by their jobs' ids
        self._choices: dict[str, Choice] = {}  # by the ids of the scheduler's requests
        self._token_texts: TokenTexts | None = None

    async def submit(self, consumer: str, job: Job) -> int:
        """Queue a job; see `actors.contracts.EngineClient`."""
        if job.request_id in self._aborted:
            del self._aborted[job.request_id]
            raise InvalidJobError(f"request {job.request_id!r} was aborted")
        self._check_open()
        self._occupancy.begin()
        try:
            return await self._take(consumer, job)
        except BaseException:
            self._occupancy.end()
            raise

    async def count(self, job: Job) -> int:
        """How many tokens a job's prompt has; see `actors.contracts.EngineClient`."""
        self._check_open()
        self._occupancy.begin()
        try:
            _, prompt = await self._encoded(job)
        finally:
            self._occupancy.end()
        return len(prompt.token_ids)

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
        self._check_unbroken()
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
            splitter = _splitter(job, prompt)
            text = AnswerText(backend.tokenizer, job.stop, self._layout, clean=job.clean_layout, splitter=splitter)
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

    async def embed(self, _job: EmbedJob) -> Vectors:
        """Refused: it generates."""
        raise self._generates()

    async def rerank(self, _job: RerankJob) -> Scores:
        """Refused: it generates."""
        raise self._generates()

    def _generates(self) -> InvalidJobError:
        model = self.spec.model
        return InvalidJobError(
            f"'{model.model_id}' is of type {model.type}, which generates text: it neither embeds nor reranks.", "model"
        )

    async def _encoded(self, job: Job) -> tuple[Backend, Prompt]:
        """The model, loaded, and a job's prompt in its tokens. Raises `InvalidJobError` or `QueueFullError`."""
        backend = await self._model()
        self._check_room()
        check_parameters(backend.vocabulary, job)
        loop = asyncio.get_running_loop()
        reading = partial(read_prompt, backend, job)
        return backend, await loop.run_in_executor(self._encoder, reading)

    @property
    def _step_thread(self) -> StepThread:
        assert isinstance(self._thread, StepThread)
        return self._thread

    def _new_thread(self, loading: Loading[Backend]) -> StepThread:
        return StepThread(self._load_on_thread, loading, StepRelay(asyncio.get_running_loop(), self._on_steps).put)

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

    def _held(self) -> int:
        return len(self._answers)

    def _resized(self, most: int) -> None:
        if self._thread is not None:
            self._thread.put(Resize(most))

    async def _abandon(self, consumer: str) -> None:
        await self.abort([key for key, answer in self._answers.items() if answer.consumer == consumer])

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

    def _ready(self, model: Backend) -> None:
        self._token_texts = TokenTexts(model.tokenizer)

    def _on_steps(self, events: Sequence[TokenEvent], stats: SchedulerStats) -> None:
        self._stats = stats
        for event in events:
            choice = self._choices.get(event.request_id)
            if choice is not None:  # else it was aborted meanwhile
                for delta in self._deltas(choice, event):
                    self._put(choice.answer, delta)
        self._send()

    def _deltas(self, choice: Choice, event: TokenEvent) -> list[Delta]:
        """What a token adds: mostly one delta, the first of which counts the token and the last of which ends the choice, if it ends."""
        answer, text, reason = choice.answer, choice.text, event.finish_reason
        answer.completion_tokens += 1
        answer.reasoning_tokens += text.is_reasoning
        said = [] if reason is FinishReason.STOP else text.add(event.token)
        if not text.stopped and reason is not None:
            said = joined([*said, *text.finish(is_whole=reason is FinishReason.STOP)])
        request_id, index = answer.request_id, choice.index
        first, *others = said or [Said()]
        deltas = [
            Delta(request_id, first.text, 1, None, None, None, self._logprobs(event), index, first.reasoning, first.calls),
            *(Delta(request_id, each.text, index=index, reasoning=each.reasoning, tool_calls=each.calls) for each in others),
        ]
        if text.stopped and reason is None:
            self._step_thread.put(Abort((event.request_id,)))
        if text.stopped or reason is not None:
            deltas[-1] = self._last(choice, event, deltas[-1])
        return deltas

    def _last(self, choice: Choice, event: TokenEvent, delta: Delta) -> Delta:
        """A choice's last delta, which is its request's last when no other choice goes on."""
        answer, text = choice.answer, choice.text
        del self._choices[event.request_id]
        answer.running.remove(event.request_id)
        if choice.index == 0:
            answer.first = event
        usage = None
        if not answer.running:
            usage = answer.usage()
            self._end(answer)
            self._bound.ended(monotonic())
        reason = FinishReason.STOP if text.stopped or event.finish_reason is None else event.finish_reason
        called = text.has_called and reason is FinishReason.STOP
        return replace(delta, finish_reason="tool_calls" if called else reason.value, usage=usage, stop_text=text.stop_text)

    def _logprobs(self, event: TokenEvent) -> tuple[TokenLogprob, ...]:
        if event.logprobs is None or event.finish_reason is FinishReason.STOP:
            return ()
        assert self._token_texts is not None
        return (self._token_texts.describe(event.logprobs),)

    def _put(self, answer: Answer, delta: Delta) -> None:
        outbox = self._outboxes.get(answer.consumer)
        if outbox is not None:
            outbox.put(delta)

    def _fail_all(self, error: EngineError) -> None:
        for request_id, answer in tuple(self._answers.items()):
            self._put(answer, Delta(request_id, finish_reason="error", error=str(error)))
            self._end(answer)
        self._choices.clear()


def _splitter(job: Job, prompt: Prompt) -> Splitter | None:
    """What takes reasoning and calls out of one choice of a job; None where all is text."""
    if not isinstance(job.prompt, ChatPrompt) or prompt.answers.is_plain:
        return None
    tools = job.prompt.tools
    reader = None if tools is None else CallReader(tools.functions)
    return Splitter(prompt.answers, prompt.opens, reader, one_call=tools is not None and tools.one_call)
