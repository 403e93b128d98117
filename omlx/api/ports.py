"""What the routes need of the rest of the server."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from typing import Any, Protocol

from actors.contracts import Delta, EmbedJob, Job, RerankJob, Scores, Vectors
from actors.control import CatalogClient, LifeEvent, Served
from scheduler.stats import SchedulerStats


class Answer(Protocol):
    """One accepted request: its deltas as they come."""

    @property
    def request_id(self) -> str:
        """The job's."""
        ...

    @property
    def model_id(self) -> str:
        """Who answers."""
        ...

    @property
    def prompt_tokens(self) -> int:
        """How many tokens its prompt has."""
        ...

    def __aiter__(self) -> AsyncIterator[Delta]:
        """The deltas of every choice, up to and with the request's last.

        Raises `EngineError` when the engine breaks or dies before that one.
        """
        ...

    async def close(self) -> None:
        """Abort the request in the engine unless it has ended. May be called again."""
        ...


class EngineObserver(Protocol):
    """Who is told what engines do. Called on the event loop, so it must be quick, and must not raise."""

    def stepped(self, model_id: str, before: SchedulerStats, after: SchedulerStats) -> None:
        """An engine of a model has gone on from some numbers to others, by one step or by several at once."""
        ...

    def happened(self, event: LifeEvent) -> None:
        """The catalog tells what became of an engine."""
        ...


class Services(Protocol):
    """Models and answers, vectors and scores."""

    @property
    def catalog(self) -> CatalogClient:
        """Who knows the models, their settings and what is loaded."""
        ...

    async def find(self, name: str) -> Served:
        """A model by id or alias, the default one for an empty name, as it is on disk now. Raises `ModelNotFoundError`."""
        ...

    async def submit(self, served: Served, job: Job) -> Answer:
        """Send a job to an engine that serves a model, which is loaded first if need be.

        The answer must be closed. Raises subclasses of `OmlxError`.
        """
        ...

    async def count(self, served: Served, job: Job) -> int:
        """How many tokens a job's prompt has for a model, which is loaded first if need be. Raises subclasses of `OmlxError`."""
        ...

    async def embed(self, served: Served, job: EmbedJob) -> Vectors:
        """Embed texts with a model, which is loaded first if need be; called off when this is cancelled.

        Raises subclasses of `OmlxError`.
        """
        ...

    async def rerank(self, served: Served, job: RerankJob) -> Scores:
        """Judge documents with a model. As `embed` in all else."""
        ...

    def health(self) -> Mapping[str, object]:
        """What runs, as JSON values."""
        ...

    def observe(self, observer: EngineObserver) -> None:
        """Tell somebody of every step and of what becomes of engines, from now on."""
        ...

    def engine_stats(self) -> Mapping[str, SchedulerStats]:
        """The latest numbers of engines, by model id; those of a model's engines together."""
        ...


class Downloads(Protocol):
    """Models to be had from elsewhere. What is given is JSON values, shaped as `omlx.api.download_shapes` says.

    A source is `hf` or `modelscope`. Every call may raise `RequestError`.
    """

    async def search(self, source: str, words: str, *, sort: str, limit: int, only_mlx: bool) -> Mapping[str, Any]:
        """Models that have to do with some words, as `SearchShown`."""
        ...

    async def card(self, source: str, name: str, revision: str | None) -> Mapping[str, Any]:
        """What a place says of one model, as `CardShown`."""
        ...

    async def add(self, source: str, wish: Mapping[str, Any]) -> Mapping[str, Any]:
        """Have a model fetched, by `repository`, `name`, `revision`, `allow` and `ignore`; the task, as `TaskShown`."""
        ...

    async def change(self, task_id: str, verb: str) -> Mapping[str, Any]:
        """`pause`, `cancel`, `retry` or `forget` a task; it as it is then, as `TaskShown`."""
        ...

    async def tasks(self, source: str) -> Sequence[Mapping[str, Any]]:
        """All tasks of a source, the oldest first."""
        ...

    def watch(self, source: str) -> AsyncGenerator[Sequence[Mapping[str, Any]], None]:
        """All tasks of a source now, and again whenever one has changed."""
        ...


class Benchmarks(Protocol):
    """Measurements of models, one at a time. What is given is JSON values, shaped as `omlx.api.benchmark_shapes` says."""

    async def begin(self, served: Served, plan: Mapping[str, Any]) -> Mapping[str, Any]:
        """Begin to measure a model, by `lengths`, `batches`, `output_tokens` and `repetitions`; the run, as `RunShown`.

        Raises `RequestError` while another runs.
        """
        ...

    async def run(self, run_id: str) -> Mapping[str, Any]:
        """One run as it is now, as `RunShown`. Raises `RequestError` where there is none."""
        ...

    async def cancel(self, run_id: str) -> Mapping[str, Any]:
        """End a run, unless it has ended; what it has measured is kept. The run then. Raises `RequestError` where there is none."""
        ...

    async def remove(self, run_id: str) -> None:
        """Forget a run. Raises `RequestError` where there is none, or while it goes on."""
        ...

    async def state(self) -> Mapping[str, Any]:
        """Which run goes on, and all there are, the newest first; as `BenchmarksShown`."""
        ...

    def watch(self) -> AsyncGenerator[Mapping[str, Any], None]:
        """The same now, and again whenever something has changed."""
        ...
