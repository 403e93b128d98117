"""`/admin/api/live`: what runs, every second, for those who watch."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from pathlib import Path
from time import monotonic

from fastapi import APIRouter, Response
from pydantic import BaseModel

from omlx.api.logs import LogLineShown, line_shown
from omlx.api.model_status import CatalogShown, catalog_shown
from omlx.api.ports import Services
from omlx.api.sse import EventStream, event
from omlx.log_line import LogLine
from omlx.log_tail import LogTail
from omlx.metrics.requests import RequestMetrics

_SECONDS = 1.0
_PROBLEMS = 5  # that are shown, the latest


class EngineNumbers(BaseModel):
    """What a model's engines do now. Sizes are in bytes.

    `running` are the sequences in their batches. `prefix_hit_rate` is the share of prompt tokens that were found computed, since the
    engines started; null before any were looked up. `time_to_first_token` is the latest request's, in seconds.
    """

    running: int
    waiting: int
    tokens_per_second: float
    time_to_first_token: float | None
    kv_bytes: int
    kv_budget: int
    prefix_bytes: int
    prefix_hit_rate: float | None
    prompt_tokens: int
    generation_tokens: int


class LiveShown(BaseModel):
    """The catalog's state, what the engines of each loaded model do, and the latest log lines from warnings up.

    `uptime_seconds` is the server's.
    """

    uptime_seconds: float
    catalog: CatalogShown
    engines: dict[str, EngineNumbers]
    problems: list[LogLineShown]


def live_routes(services: Services, requests: RequestMetrics, log_dir: Path | None) -> APIRouter:
    """The route, given who knows what runs, what measures requests, and where the log files are, if anywhere."""
    router = APIRouter(tags=["Administration"])
    began = monotonic()

    @router.get("/admin/api/live", response_class=Response, responses={200: {"content": {"text/event-stream": {}}}})
    async def watch() -> Response:
        """What runs, as server-sent events, one a second."""
        events = _events(services, requests, log_dir, began)
        return EventStream(await anext(events), events)

    return router


async def _events(
    services: Services, requests: RequestMetrics, log_dir: Path | None, began: float
) -> AsyncGenerator[bytes, None]:
    tail = LogTail(log_dir, least="warning") if log_dir is not None else None
    problems: deque[LogLine] = deque(maxlen=_PROBLEMS)
    while True:
        if tail is not None:
            problems.extend(await asyncio.to_thread(tail.look))
        shown = LiveShown(
            uptime_seconds=monotonic() - began,
            catalog=catalog_shown(await services.catalog.status()),
            engines=_numbers(services, requests),
            problems=[line_shown(line) for line in problems],
        )
        yield event(shown.model_dump(mode="json"))
        await asyncio.sleep(_SECONDS)


def _numbers(services: Services, requests: RequestMetrics) -> dict[str, EngineNumbers]:
    return {
        model_id: EngineNumbers(
            tokens_per_second=requests.rate(model_id).per_second(),
            time_to_first_token=requests.latest_first_token.get(model_id),
            prefix_hit_rate=stats.prefix_hits / stats.prefix_queries if stats.prefix_queries else None,
            **{name: getattr(stats, name) for name in EngineNumbers.model_fields if hasattr(stats, name)},
        )
        for model_id, stats in services.engine_stats().items()
    }
