"""What the routes need of the rest of the server."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

from actors.contracts import Delta, Job, ModelInfo
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


class Services(Protocol):
    """Models and answers."""

    async def models(self) -> Sequence[ModelInfo]:
        """Every model on disk, by id."""
        ...

    async def submit(self, model_id: str, job: Job) -> Answer:
        """Send a job to the engine that serves a model, which is loaded first if need be.

        The answer must be closed. Raises subclasses of `OmlxError`.
        """
        ...

    def health(self) -> Mapping[str, object]:
        """What runs, as JSON values."""
        ...

    def engine_stats(self) -> Mapping[str, SchedulerStats]:
        """Each engine's latest numbers, by model id."""
        ...
