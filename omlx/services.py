"""What the HTTP side asks for: models and answers. Keeps a routing table and a connection an engine, nothing else."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from uuid import uuid4

from actors.contracts import CatalogClient, EngineHost, EngineStatus, Job, ModelInfo, Route, RoutingTable
from actors.errors import CatalogError, EngineError
from omlx.connection import Answer, EngineConnection
from scheduler.stats import SchedulerStats

_log = logging.getLogger(__name__)
_RETRY_SECONDS = 1.0  # between attempts to reach a catalog that is being restarted
_ATTEMPTS = 3  # engines tried for one request before its first token


class Services:
    """The catalog and the engines as one ingress sees them. Belongs to one event loop; `start` before use."""

    def __init__(self, catalog: CatalogClient, engines: EngineHost) -> None:
        self._catalog = catalog
        self._engines = engines
        self._consumer = f"ingress-{uuid4().hex[:8]}"
        self._table = RoutingTable(revision=0)
        self._connections: dict[str, asyncio.Task[EngineConnection]] = {}
        self._watcher: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to follow the catalog."""
        self._watcher = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """End every stream."""
        if self._watcher is not None:
            self._watcher.cancel()
            with suppress(asyncio.CancelledError):
                await self._watcher
        for connection in self._open_connections():
            await connection.close()

    async def models(self) -> Sequence[ModelInfo]:
        """Every model on disk, by id."""
        return await self._catalog.models()

    async def submit(self, model_id: str, job: Job) -> Answer:
        """Send a job to the engine that serves a model, which is loaded first if need be.

        An engine that turns out to be dead has done nothing for the request yet, so the next one is tried.

        Raises `ModelNotFoundError`, `ModelLoadError`, `InvalidJobError`, `EngineError` or `CatalogError`.
        """
        route = self._table.routes.get(model_id) or await self._catalog.route(model_id)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                connection = await self._connection(route)
                return await connection.submit(job)
            except EngineError:
                if attempt == _ATTEMPTS:
                    raise
                route = await self._catalog.route(model_id, gone=route.engine_id)
        raise AssertionError("unreachable")

    def health(self) -> Mapping[str, object]:
        """What runs, for people and probes."""
        return {
            "engines": {engine.model_id: {"state": engine.state, "restarts": engine.restarts} for engine in self._table.engines}
        }

    def engine_stats(self) -> Mapping[str, SchedulerStats]:
        """Each connected engine's latest numbers, by model."""
        return {connection.model_id: connection.stats for connection in self._open_connections()}

    def _open_connections(self) -> list[EngineConnection]:
        return [
            task.result()
            for task in self._connections.values()
            if task.done() and not task.cancelled() and task.exception() is None
        ]

    async def _connection(self, route: Route) -> EngineConnection:
        task = self._connections.get(route.engine_id)
        if task is None:
            task = asyncio.create_task(self._connect(route))
            self._connections[route.engine_id] = task
        try:
            return await asyncio.shield(task)
        except EngineError:
            self._connections.pop(route.engine_id, None)
            raise

    async def _connect(self, route: Route) -> EngineConnection:
        client = await self._engines.connect(route.engine_id)

        def ended(_connection: EngineConnection) -> None:
            self._connections.pop(route.engine_id, None)

        return EngineConnection(route.model_id, client, self._consumer, ended)

    async def _watch(self) -> None:
        """Follow the catalog's revision, through its restarts."""
        while True:
            try:
                table = await self._catalog.watch(self._table.revision)
            except CatalogError as error:
                _log.warning("%s", error)
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            _log_changes(self._table.engines, table.engines)
            self._table = table


def _log_changes(before: Sequence[EngineStatus], after: Sequence[EngineStatus]) -> None:
    """Say in a line each what became of every engine."""
    known = {engine.engine_id: engine.state for engine in before}
    for engine in after:
        if known.get(engine.engine_id) == engine.state:
            continue
        if engine.state == "ready" and engine.info is not None:
            info = engine.info
            _log.info("%s is ready: process %d, %s, loaded in %.1f s", engine.model_id, info.pid, info.device, info.load_seconds)
            for warning in info.warnings:
                _log.warning("%s: %s", engine.model_id, warning)
        elif engine.state == "failed":
            _log.error("%s could not be loaded: %s", engine.model_id, engine.reason)
        elif engine.restarts:
            _log.warning("the engine of %s ended and is being started again (%d)", engine.model_id, engine.restarts)
        else:
            _log.info("loading %s", engine.model_id)
