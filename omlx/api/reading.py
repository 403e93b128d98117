"""How a request whose answer comes at once, vectors or scores, gets it from a model."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from fastapi import Request

from actors.contracts import Scores, Vectors
from actors.control import Served
from omlx.api.asked_model import asked_model
from omlx.api.disconnect import unless_gone
from omlx.api.ports import Services
from omlx.metrics.requests import RequestMetrics
from omlx.record import RequestRecord

Result = TypeVar("Result", Vectors, Scores)


@dataclass(frozen=True, slots=True)
class Asking:
    """One request to a model.

    Attributes:
        http: The request, its body read.
        model: The name of the model that it wants; empty for the default one.
        endpoint: Where it was asked.
        record: What becomes of it.
    """

    http: Request
    model: str
    endpoint: str
    record: RequestRecord


class Reading:
    """Has models read texts, and counts what they read.

    Args:
        services: Who finds the models and what they say.
        requests: What measures the requests.
    """

    def __init__(self, services: Services, requests: RequestMetrics) -> None:
        self.services = services
        self._requests = requests

    async def result(self, asking: Asking, ask: Callable[[Served], Awaitable[Result]]) -> tuple[Served, Result]:
        """The model that was asked for, and what it says, unless the client leaves, which calls the work off.

        Raises `OmlxError`, or `ClientDisconnect`.
        """
        return await unless_gone(asking.http.receive, self._result(asking, ask))

    async def _result(self, asking: Asking, ask: Callable[[Served], Awaitable[Result]]) -> tuple[Served, Result]:
        served = await asked_model(self.services, asking.model, asking.endpoint)
        asking.record.model_id = served.model_id
        with self._requests.reading(asking.record) as meter:
            result = await ask(served)
            meter.done(result.prompt_tokens)
        return served, result
