"""`GET /metrics`: what Prometheus scrapes."""

import asyncio

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from omlx.metrics.registry import Metrics


def metrics_routes(metrics: Metrics) -> APIRouter:
    """The route, given what is measured."""
    router = APIRouter(tags=["Operation"])

    @router.get("/metrics", response_class=Response)
    async def scrape() -> Response:
        """Every metric in Prometheus' text format."""
        metrics.event_loop_tasks.set(len(asyncio.all_tasks()))
        return Response(metrics.exposition(), headers={"content-type": CONTENT_TYPE_LATEST})

    return router
