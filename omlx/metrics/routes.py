"""`GET /metrics`: what Prometheus scrapes."""

import asyncio

from fastapi import APIRouter, Request, Response

from actors.control import CatalogClient, CatalogStatus
from actors.errors import CatalogError
from omlx.metrics.metrics import Metrics

_CATALOG_SECONDS = 1.0  # Prometheus itself waits ten


def metrics_routes(metrics: Metrics, catalog: CatalogClient) -> APIRouter:
    """The route, given what is measured and who knows the models."""
    router = APIRouter(tags=["Operation"])

    @router.get("/metrics", response_class=Response)
    async def scrape(http: Request) -> Response:
        """Every metric, in Prometheus' text format or, where it is asked for, in OpenMetrics."""
        metrics.catalog.status = await _status(catalog)
        text, content_type = await metrics.exposition(http.headers.get("accept", ""))
        return Response(text, headers={"content-type": content_type})

    return router


async def _status(catalog: CatalogClient) -> CatalogStatus | None:
    try:
        async with asyncio.timeout(_CATALOG_SECONDS):
            return await catalog.status()
    except (CatalogError, TimeoutError):
        return None
