"""Services of the HTTP side without engines: each answer follows a script."""

import asyncio
from array import array
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from actors.contracts import Delta, EmbedJob, Job, RerankJob, Scores, TextPrompt, Usage, Vectors
from actors.control import Served
from omlx.api.ports import EngineObserver
from scheduler.stats import SchedulerStats
from tests.fakes.catalog import FakeCatalog, served

HANG = object()  # in a script: nothing comes any more
CUT = object()  # in a script: the deltas end without a last one


class FakeAnswer:
    """Follows a script: a text for each string, one token for each choice, deltas as they are, exceptions raised.

    Each choice that no delta of the script ends has an ending one after it.
    """

    def __init__(self, model_id: str, job: Job, script: Sequence[object], finish_reason: str) -> None:
        self.request_id = job.request_id
        self.model_id = model_id
        self.prompt_tokens = 5
        self.closed = 0
        self.ended = False
        self._script = script
        self._finish_reason = finish_reason
        self._going_on = list(range(job.n))

    async def __aiter__(self) -> AsyncIterator[Delta]:
        tokens = 0
        for step in self._script:
            if step is HANG:
                await asyncio.Event().wait()
            if step is CUT:
                return
            if isinstance(step, Exception):
                raise step
            await asyncio.sleep(0)
            if isinstance(step, Delta):
                tokens += 1
                yield replace(step, request_id=self.request_id)
                if step.finish_reason is not None:
                    self._going_on.remove(step.index)
                continue
            for index in self._going_on:
                tokens += 1
                yield Delta(self.request_id, str(step), 1, index=index)
        self.ended = True
        tokens += len(self._going_on)
        *others, last = self._going_on
        for index in others:
            yield Delta(self.request_id, "", 1, self._finish_reason, index=index)
        yield Delta(self.request_id, "", 1, self._finish_reason, Usage(self.prompt_tokens, tokens), index=last)

    async def close(self) -> None:
        self.closed += 1


class FakeServices:
    """Serves the models it is told to, keeps every job and every answer.

    A text's vector is its length and its place, and a document's score how much of the query's letters it has; each character
    is a token.

    Args:
        script: What each answer says: texts, deltas, exceptions to raise, `HANG`, `CUT`.
        models: The models, or their ids.
        refusal: What asking a model raises; `HANG` for one that never comes up.
    """

    def __init__(
        self,
        script: Sequence[object] = ("Hel", "lo"),
        *,
        models: Sequence[str | Served] = ("tiny",),
        finish_reason: str = "stop",
        refusal: object = None,
    ) -> None:
        self.jobs: list[Job | EmbedJob | RerankJob] = []
        self.cancelled = 0  # calls for vectors or scores that were called off
        self.answers: list[FakeAnswer] = []
        self.refusal = refusal
        self.catalog = FakeCatalog([served(each) if isinstance(each, str) else each for each in models])
        self._script = script
        self._finish_reason = finish_reason

    async def find(self, name: str) -> Served:
        return await self.catalog.find(name)

    async def submit(self, served: Served, job: Job) -> FakeAnswer:
        await self._take(job)
        answer = FakeAnswer(served.model_id, job, self._script, self._finish_reason)
        self.answers.append(answer)
        return answer

    async def count(self, served: Served, job: Job) -> int:
        await self._take(job)
        return sum(len(str(message["content"])) for message in job.prompt.messages)

    async def embed(self, served: Served, job: EmbedJob) -> Vectors:
        await self._take(job)
        lengths = [len(each.text if isinstance(each, TextPrompt) else each.token_ids) for each in job.inputs]
        numbers = array("f", [number for index, length in enumerate(lengths) for number in (length, index, 0.1)])
        return Vectors(numbers.tobytes(), 3, sum(lengths))

    async def rerank(self, served: Served, job: RerankJob) -> Scores:
        await self._take(job)
        wanted = {*job.query}
        scores = tuple(len(wanted & {*document}) / len(wanted) for document in job.documents)
        return Scores(scores, sum(len(job.query) + len(document) for document in job.documents))

    def health(self) -> dict[str, object]:
        engine = {"state": "ready", "restarts": 0}
        return {"engines": {model_id: [{"engine_id": f"{model_id}-1", **engine}] for model_id in self.catalog.models}}

    async def _take(self, job: Job | EmbedJob | RerankJob) -> None:
        self.jobs.append(job)
        if self.refusal is HANG:
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled += 1
        if isinstance(self.refusal, Exception):
            raise self.refusal

    def observe(self, observer: EngineObserver) -> None:
        self.observer = observer

    def engine_stats(self) -> dict[str, SchedulerStats]:
        return {model_id: SchedulerStats(running=2, waiting=3) for model_id in self.catalog.models}
