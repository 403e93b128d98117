"""Services with an engine whose time is a number: prompts take so long a token, steps so long, and what was computed is kept."""

import asyncio
from collections.abc import AsyncIterator

from actors.contracts import Delta, Job, Usage
from actors.control import Served
from actors.errors import ContextLengthError
from scheduler.stats import SchedulerStats
from tests.fakes.services import FakeServices

PROMPT_SECONDS = 0.01  # a token
STEP_SECONDS = 0.1
TOKENS_PER_WORD = 2


class TimedAnswer:
    """One request; a token of it is taken before the engine goes on."""

    def __init__(self, services: "TimedServices", model_id: str, job: Job) -> None:
        self.request_id, self.model_id = job.request_id, model_id
        self.prompt = job.prompt.text
        self.prompt_tokens = TOKENS_PER_WORD * len(self.prompt.split())
        self.max_tokens = min(job.max_tokens, services.context - self.prompt_tokens)
        self.closed = 0
        self.cached = self.given = 0
        self.deltas: asyncio.Queue[Delta] = asyncio.Queue()
        self._services = services

    async def __aiter__(self) -> AsyncIterator[Delta]:
        while True:
            delta = await self.deltas.get()
            yield delta
            self.deltas.task_done()
            if delta.is_last:
                return

    async def close(self) -> None:
        self.closed += 1
        self._services.leave(self)


class TimedServices(FakeServices):
    """Serves `models`, a few requests at a time; one prompt goes in a step, beside a token of each request that has begun.

    Args:
        rows: The most requests that it answers at once.
        context: Tokens of prompt and answer together.
        reuse: Whether a prompt that was computed is found again, but for its last token.
        others: Requests of others that are always running.
        halt: A number of tokens after which the engine says nothing any more.

    Attributes:
        now: Its time, in seconds.
    """

    def __init__(self, *, rows=8, context=100_000, reuse=True, others=0, halt=None, **options) -> None:
        super().__init__(**options)
        self.now = 0.0
        self.context = context
        self.halted = asyncio.Event()
        self._rows, self._reuse, self._others, self._halt = rows, reuse, others, halt
        self._computed: set[str] = set()
        self._waiting: list[TimedAnswer] = []
        self._running: list[TimedAnswer] = []
        self._stepping: asyncio.Task[None] | None = None
        self._tokens = 0

    def clock(self) -> float:
        return self.now

    async def submit(self, served: Served, job: Job) -> TimedAnswer:
        await self._take(job)
        await self.catalog.route(served.model_id)
        answer = TimedAnswer(self, served.model_id, job)
        if answer.max_tokens <= 0:
            raise ContextLengthError(answer.prompt_tokens, self.context, "prompt")
        self.answers.append(answer)
        self._waiting.append(answer)
        if self._stepping is None:
            self._stepping = asyncio.create_task(self._step_until_idle())
        return answer

    def leave(self, answer: TimedAnswer) -> None:
        for place in (self._waiting, self._running):
            if answer in place:
                place.remove(answer)

    def engine_stats(self):
        return {"tiny": SchedulerStats(running=len(self._running) + self._others, waiting=len(self._waiting))}

    async def _step_until_idle(self) -> None:
        while self._waiting or self._running:
            while self._waiting and len(self._running) < self._rows:
                self._running.append(self._waiting.pop(0))
            begun = [answer for answer in self._running if answer.given]
            fresh = [answer for answer in self._running if not answer.given][:1]
            self.now += STEP_SECONDS * bool(begun)
            for answer in fresh:
                found = self._reuse and answer.prompt in self._computed
                answer.cached = answer.prompt_tokens - 1 if found else 0
                self.now += (answer.prompt_tokens - answer.cached) * PROMPT_SECONDS
                self._computed.add(answer.prompt)
            given = [(answer, self._next(answer)) for answer in begun + fresh]
            for answer, delta in given:
                answer.deltas.put_nowait(delta)
            for answer, _ in given:
                if answer.closed == 0:
                    await answer.deltas.join()
            self._tokens += len(given)
            if self._halt is not None and self._tokens >= self._halt:
                self.halted.set()
                await asyncio.Event().wait()
        self._stepping = None

    def _next(self, answer: TimedAnswer) -> Delta:
        answer.given += 1
        if answer.given < answer.max_tokens:
            return Delta(answer.request_id, " a", 1)
        self._running.remove(answer)
        return Delta(answer.request_id, "", 1, "length", Usage(answer.prompt_tokens, answer.given, cached_tokens=answer.cached))
