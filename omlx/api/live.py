"""`/admin/api/live`: what runs, every second, for those who watch."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel

from omlx.api.model_status import CatalogShown, catalog_shown
from omlx.api.ports import Services
from omlx.api.sse import EventStream, event
from omlx.metrics.requests import RequestMetrics

_SECONDS = 1.0


class EngineNumbers(BaseModel):
    """What a model's engines do now. Sizes are in bytes.

    `prefix_hit_rate` is the share of prompt tokens that were found computed, since the engines started; null before any were looked
    up. `time_to_first_token` is the latest request's, in seconds.
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
    """The catalog's state, and what the engines of each loaded model do."""

    catalog: CatalogShown
    engines: dict[str, EngineNumbers]


def live_routes(services: Services, requests: RequestMetrics) -> APIRouter:
    """The route, given who knows what runs, and what measures requests."""
    router = APIRouter(tags=["Administration"])

    @router.get("/admin/api/live", response_class=Response, responses={200: {"content": {"text/event-stream": {}}}})
    async def watch() -> Response:
        """What runs, as server-sent events, one a second."""
        events = _events(services, requests)
        return EventStream(await anext(events), events)

    return router


async def _events(services: Services, requests: RequestMetrics) -> AsyncGenerator[bytes, None]:
    while True:
        yield event(await _now(services, requests))
        await asyncio.sleep(_SECONDS)


async def _now(services: Services, requests: RequestMetrics) -> dict[str, Any]:
    engines = {
        model_id: EngineNumbers(
            tokens_per_second=requests.rate(model_id).per_second(),
            time_to_first_token=requests.latest_first_token.get(model_id),
            prefix_hit_rate=stats.prefix_hits / stats.prefix_queries if stats.prefix_queries else None,
            **{name: getattr(stats, name) for name in EngineNumbers.model_fields if hasattr(stats, name)},
        )
        for model_id, stats in services.engine_stats().items()
    }
    return LiveShown(catalog=catalog_shown(await services.catalog.status()), engines=engines).model_dump(mode="json")
