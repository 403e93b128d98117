"""All of the server's metrics together."""

import asyncio

from omlx import __version__
from omlx.metrics import spec
from omlx.metrics.collectors import CatalogCollector, EngineCollector, EngineStats
from omlx.metrics.engines import EngineMetrics
from omlx.metrics.registry import Registry
from omlx.metrics.requests import RequestMetrics


class Metrics:
    """What is measured in this process, and what it is told.

    Attributes:
        requests: Told of requests.
        engines: Told of steps and of engines.
        catalog: Has to be given the catalog's status before each scrape.

    Args:
        engine_stats: Gives the engines' latest numbers, by model, when they are asked for.
    """

    def __init__(self, engine_stats: EngineStats) -> None:
        self._registry = Registry()
        self.requests = RequestMetrics(self._registry)
        self.engines = EngineMetrics(self._registry, self.requests.expect)
        self.catalog = CatalogCollector()
        self._registry.collect(self.catalog)
        self._registry.collect(EngineCollector(engine_stats))
        self._tasks = self._registry.gauge(spec.EVENT_LOOP_TASKS)
        self._registry.gauge(spec.BUILD_INFO).labels(__version__).set(1)

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """Everything as a scrape's `Accept` header wants it, and its content type. Written by a thread, so that no stream waits."""
        self._tasks.set(len(asyncio.all_tasks()))
        return await asyncio.to_thread(self._registry.exposition, accept)
