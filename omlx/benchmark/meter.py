"""Measures one size at a time, with requests on the same way as everybody's: through the services, to the engine and back."""

import asyncio
import time
from collections.abc import Callable, Sequence
from random import Random, SystemRandom
from statistics import median
from uuid import uuid4

from actors.contracts import Job, TextPrompt
from actors.control import Served
from actors.errors import EngineError
from omlx.api.ports import Services
from omlx.benchmark.batch import Batch, Row
from omlx.benchmark.errors import SizeError
from omlx.benchmark.plan import Size
from omlx.benchmark.prose import OPENING_WORDS, Writer
from omlx.benchmark.run import Figures
from scheduler.sampling import SamplingParams

_KNOWN_WORDS = 200  # of the prompt that tells how many tokens a word has
_AHEAD = (16, 256)  # tokens that requests may be ahead of those that begin last: usually, and where nothing is found computed
_LOOK_SECONDS = 0.02  # between two looks at what else is running, at the least
_WATCH_SECONDS = 0.2  # the same where no tokens come


class Meter:
    """Measures one model. Belongs to one event loop; one thing is measured at a time.

    Args:
        services: Who answers.
        served: The model.
        output_tokens: Of each request, over which decoding is timed.
        clock: Seconds that go on steadily.
        random: Where the prompts come from. They must be new each time, or they are found computed.

    Attributes:
        other_requests: The most requests of others that were seen at once while sizes were measured.
    """

    def __init__(
        self,
        services: Services,
        served: Served,
        output_tokens: int,
        clock: Callable[[], float] = time.monotonic,
        random: Random | None = None,
    ) -> None:
        self.other_requests = 0
        self._services = services
        self._served = served
        self._output_tokens = output_tokens
        self._clock = clock
        self._writer = Writer(lambda text: len(text.split()), random or SystemRandom())
        self._tokens_per_word = 1.0
        self._in_flight = 0  # requests of ours
        self._waiting = 0  # requests that were not admitted, at the most
        self._looked = float("-inf")

    async def prepare(self) -> None:
        """Have the model loaded, and learn how many tokens a word has. Raises subclasses of `OmlxError`."""
        (row,) = (await self._together(self._prompts(_KNOWN_WORDS, 1), 1)).rows
        self._tokens_per_word = row.prompt_tokens / _KNOWN_WORDS
        self.other_requests = 0  # those so far have disturbed nothing, or are an earlier meter's that was cancelled

    async def measure(self, size: Size) -> Figures:
        """Measure a size once.

        New prompts are sent for one token each, which tells how fast prompts are computed. Then the same are sent again: now they are
        found computed, so all requests begin at about the same time, and it is seen how fast they go on.

        Raises `SizeError`, or other subclasses of `OmlxError`.
        """
        words = max(round(size.length / self._tokens_per_word), OPENING_WORDS + 1)
        prompts = await asyncio.to_thread(self._prompts, words, size.batch)
        cold = await self._together(prompts, 1)
        hit, rates = await self._decoded(prompts)
        return Figures(
            prompt_tokens=cold.prompt_tokens,
            ttft=cold.ttft,
            prefill_tokens_per_second=(cold.prompt_tokens - cold.cached_tokens) * size.batch / cold.seconds,
            cached_tokens=hit.cached_tokens,
            hit_ttft=hit.ttft,
            hit_tokens_per_second=hit.prompt_tokens * size.batch / hit.seconds,
            decode_tokens_per_second=sum(rates),
            decode_tokens_per_second_each=median(rates),
        )

    def _prompts(self, words: int, count: int) -> list[str]:
        return [f"{self._writer.opening()} {self._writer.prose(words - OPENING_WORDS)}" for _ in range(count)]

    async def _decoded(self, prompts: Sequence[str]) -> tuple[Batch, list[float]]:
        """The requests, with answers long enough that all of them are decoded together for a while, and their rates."""
        for ahead in _AHEAD:
            wanted = 1 + self._output_tokens + (ahead if len(prompts) > 1 else 0)
            self._waiting = 0
            batch = await self._together(prompts, wanted)
            rates = batch.rates(self._output_tokens)
            if rates is not None:
                return batch, rates
            if any(row.output_tokens < wanted for row in batch.rows):
                raise SizeError(
                    f"The model's context has no room for {wanted} tokens after prompts of {batch.prompt_tokens:.0f}."
                )
            if self._waiting:
                break
        raise SizeError(
            f"The {len(prompts)} requests did not run at the same time: max_concurrent_requests, or the memory for KV, is too small for them."
        )

    async def _together(self, prompts: Sequence[str], max_tokens: int) -> Batch:
        """Send requests at once, and wait for their ends; if one fails, or this is cancelled, they are all aborted."""
        sent = self._clock()
        self._in_flight = len(prompts)
        following = [asyncio.create_task(self._follow(sent, prompt, max_tokens)) for prompt in prompts]
        watching = asyncio.create_task(self._watch())
        try:
            return Batch(await asyncio.gather(*following))
        finally:
            for task in (*following, watching):
                task.cancel()
            await asyncio.gather(*following, watching, return_exceptions=True)

    async def _follow(self, sent: float, prompt: str, max_tokens: int) -> Row:
        job = Job(
            request_id=f"benchmark-{uuid4().hex}",
            prompt=TextPrompt(prompt),
            sampling=SamplingParams(temperature=0.0),
            max_tokens=max_tokens,
            ignore_eos=True,
            client="benchmark",
            context_window=self._served.context_window,
        )
        answer = await self._services.submit(self._served, job)
        row = Row(sent, prompt_tokens=answer.prompt_tokens)
        usage = None
        try:
            async for delta in answer:
                now = self._clock()
                if delta.tokens:
                    row.arrivals.append((now, delta.tokens))
                if delta.is_last:  # what the engine says with it no longer counts this one
                    usage = delta.usage
                    self._in_flight -= 1
                self._look(now)
        finally:
            await answer.close()
        if usage is None or not row.arrivals:
            raise EngineError(self._served.model_id, "an answer ended too early")
        row.cached_tokens = usage.cached_tokens
        return row

    async def _watch(self) -> None:
        """See what else is running while prompts are computed, which takes long and brings no tokens."""
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            self._look(self._clock())

    def _look(self, now: float) -> None:
        """See what else is running, as the engines said last."""
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        others = 0
        for model_id, stats in self._services.engine_stats().items():
            is_ours = model_id == self._served.model_id
            others += max(stats.running + stats.waiting - (self._in_flight if is_ours else 0), 0)
            if is_ours:
                self._waiting = max(self._waiting, stats.waiting)
        self.other_requests = max(self.other_requests, others)
