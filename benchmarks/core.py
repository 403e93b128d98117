"""The engine core over a loaded model, stepped by hand, with the time of each token."""

import time
from collections import defaultdict
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from random import Random

from actors.engine.backend import Backend
from benchmarks.model_folder import model_in
from scheduler.core import EngineCore
from scheduler.request import Request
from scheduler.sampling import SamplingParams
from scheduler.scheduler import SchedulerConfig

NO_END = 1024  # tokens of an answer that `clear` ends


class Core:
    """What an engine has, in this process: a model, its runner, and a scheduler with the engine's own settings.

    Attributes:
        device: What it computes on.
        context_length: Tokens of prompt and answer together.
        arrivals: When each token of each request came, seconds of the monotonic clock.
        cached_tokens: How many of a request's prompt tokens did not have to be computed.
        unfinished: Requests that have not ended.
    """

    def __init__(self, backend: Backend, max_num_seqs: int) -> None:
        self.device = backend.device
        self.context_length = backend.context_length
        self.arrivals: defaultdict[str, list[float]] = defaultdict(list)
        self.cached_tokens: dict[str, int] = {}
        self.unfinished: set[str] = set()
        self._vocabulary = backend.vocabulary
        self._core = EngineCore(
            backend.runner,
            SchedulerConfig(
                max_num_seqs=max_num_seqs,
                max_decode_stall=backend.max_decode_stall,
                kv_cost=backend.kv_cost,
                kv_budget=backend.kv_budget,
                reuse_kv=backend.reuse_kv,
            ),
        )
        self._ids = count()
        self._random = Random(0)

    def prompt(self, tokens: int) -> list[int]:
        """Random tokens."""
        return [self._random.randrange(self._vocabulary) for _ in range(tokens)]

    def add(self, prompt: Sequence[int], max_tokens: int = NO_END) -> str:
        """Queue a request whose answer, greedily made, has exactly so many tokens; its id."""
        request_id = str(next(self._ids))
        self._core.add(Request(request_id, tuple(prompt), max_tokens, sampling=SamplingParams(temperature=0.0)))
        self.unfinished.add(request_id)
        return request_id

    def step(self, steps: int = 1) -> None:
        """Take steps, and note what they bring."""
        for _ in range(steps):
            events = self._core.step().events
            now = time.monotonic()
            for event in events:
                self.arrivals[event.request_id].append(now)
                self.cached_tokens[event.request_id] = event.cached_tokens
                if event.finish_reason is not None:
                    self.unfinished.discard(event.request_id)

    def step_until_started(self, request_ids: Sequence[str]) -> None:
        """Step until each of them has a token."""
        while not all(self.arrivals[request_id] for request_id in request_ids):
            self.step()

    def step_until_ended(self, request_id: str) -> None:
        """Step until it has its last token."""
        while request_id in self.unfinished:
            self.step()

    def clear(self) -> None:
        """End every request."""
        for request_id in self._core.request_ids():
            self._core.abort(request_id)
        while self._core.has_work:
            self._core.step()
        self.unfinished.clear()


def load_core(model_folder: Path, max_num_seqs: int) -> Core:
    """A core over the model of a folder, loaded as an engine does. MLX comes into this process here."""
    from actors.engine.loader import load_backend

    return Core(load_backend(model_in(model_folder)), max_num_seqs)
