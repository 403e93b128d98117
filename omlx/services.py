"""What the HTTP side asks for: models and answers. Keeps a routing table and a connection an engine, nothing else."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from typing import TypeVar
from uuid import uuid4

from actors.contracts import EmbedJob, EngineHost, Job, RerankJob, Route, Scores, Vectors
from actors.control import CatalogClient, EngineStatus, RoutingTable, Served
from actors.errors import CatalogError, EngineError
from actors.folder_revision import is_current as folder_is_current
from actors.models import ModelInfo
from omlx.api.ports import EngineObserver
from omlx.connection import Answer, EngineConnection
from omlx.replicas import Prompt, Replicas
from scheduler.stats import SchedulerStats

_log = logging.getLogger(__name__)
_RETRY_SECONDS = 1.0  # between attempts to reach a catalog that is being restarted
_ATTEMPTS = 3  # engines tried for one request before its first token
_Result = TypeVar("_Result")


class Services:
    """The catalog and the engines as one ingress sees them. Belongs to one event loop; `start` before use.

    Args:
        catalog: The control plane.
        engines: Where the engines are found.
        is_current: Whether a model's folder is still as it was described; may block.
    """

    def __init__(
        self, catalog: CatalogClient, engines: EngineHost, is_current: Callable[[ModelInfo], bool] = folder_is_current
    ) -> None:
        self.catalog = catalog
        self._engines = engines
        self._is_current = is_current
        self._consumer = f"ingress-{uuid4().hex[:8]}"
        self._table = RoutingTable(revision=0)
        self._replicas = Replicas()
        self._connections: dict[str, asyncio.Task[EngineConnection]] = {}
        self._connecting: Counter[str] = Counter()  # requests that wait for a connection, by engine
        self._watcher: asyncio.Task[None] | None = None
        self._observer: EngineObserver | None = None

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

    async def find(self, name: str) -> Served:
        """A model by id or alias, the default one for an empty name, as it is on disk now.

        Raises `ModelNotFoundError` or `CatalogError`.
        """
        served = self._table.find(name)
        if served is not None and await asyncio.to_thread(self._is_current, served.model):
            return served
        return await self.catalog.find(name)

    async def submit(self, served: Served, job: Job) -> Answer:
        """Send a job to an engine that serves a model, which is loaded first if need be.

        An engine that turns out to be dead, or to take no more, has done nothing for the request yet, so the next one is tried.

        Raises `ModelNotFoundError`, `ModelLoadError`, `InsufficientMemoryError`, `InvalidJobError`, `QueueFullError`, `EngineError`
        or `CatalogError`.
        """
        return await self._ask(served, job.prompt, lambda connection: connection.submit(job))

    async def count(self, served: Served, job: Job) -> int:
        """How many tokens a job's prompt has for a model, which is loaded first if need be. Raises as `submit` does."""
        return await self._ask(served, None, lambda connection: connection.count(job))

    async def embed(self, served: Served, job: EmbedJob) -> Vectors:
        """Embed texts with a model, which is loaded first if need be. Cancelling this calls it off in the engine.

        The next engine is tried also where one dies at work: doing it again changes nothing. Raises as `submit` does.
        """
        return await self._ask(served, None, lambda connection: connection.embed(job))

    async def rerank(self, served: Served, job: RerankJob) -> Scores:
        """Judge documents with a model. As `embed` in all else."""
        return await self._ask(served, None, lambda connection: connection.rerank(job))

    def health(self) -> Mapping[str, object]:
        """What runs, for people and probes: the engines of each model."""
        engines: dict[str, list[dict[str, object]]] = {}
        for engine in self._table.engines:
            status = {"engine_id": engine.engine_id, "state": engine.state, "restarts": engine.restarts}
            engines.setdefault(engine.model_id, []).append(status)
        return {"engines": engines}

    def observe(self, observer: EngineObserver) -> None:
        """Tell somebody of every step and of what becomes of engines, from now on."""
        self._observer = observer

    def engine_stats(self) -> Mapping[str, SchedulerStats]:
        """The latest numbers of connected engines, by model; those of a model's engines together."""
        found: dict[str, list[SchedulerStats]] = {}
        for connection in self._open_connections():
            found.setdefault(connection.model_id, []).append(connection.stats)
        return {model_id: _sum(stats) for model_id, stats in found.items()}

    def _known_route(self, served: Served, prompt: Prompt | None) -> Route | None:
        """An engine that the table has for a model as it is now: of several, the best for the prompt."""
        model_id = served.model_id
        known = self._table.served.get(model_id)
        if known is None or known.model.revision != served.model.revision:
            return None  # its engines, if any, are of what the folder was before
        routes = {route.engine_id: route for route in self._table.routes.get(model_id, ())}
        if len(routes) > 1:
            return routes[self._replicas.choose({engine_id: self._load(engine_id) for engine_id in routes}, prompt)]
        return next(iter(routes.values()), None)

    def _load(self, engine_id: str) -> int:
        """Requests that an engine has: as we count ours or as it counted everybody's, whichever is more.

        Its count comes with a step, so it has most of ours in it, but not those of this moment.
        """
        ours = self._connecting[engine_id]
        connection = self._open_connection(engine_id)
        if connection is None:
            return ours
        return max(ours + connection.in_flight, connection.stats.running + connection.stats.waiting)

    def _open_connection(self, engine_id: str) -> EngineConnection | None:
        task = self._connections.get(engine_id)
        if task is None or not task.done() or task.cancelled() or task.exception() is not None:
            return None
        return task.result()

    def _open_connections(self) -> list[EngineConnection]:
        return [connection for engine_id in self._connections if (connection := self._open_connection(engine_id)) is not None]

    async def _ask(self, served: Served, prompt: Prompt | None, ask: Callable[[EngineConnection], Awaitable[_Result]]) -> _Result:
        """What an engine of a model says; one that turns out to be dead, or to take no more, is followed by the next."""
        model_id = served.model_id
        route = self._known_route(served, prompt) or await self.catalog.route(model_id)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await ask(await self._connected(route))
            except EngineError:
                if attempt == _ATTEMPTS:
                    raise
                route = await self.catalog.route(model_id, gone=route.engine_id)
        raise AssertionError("unreachable")

    async def _connected(self, route: Route) -> EngineConnection:
        self._connecting[route.engine_id] += 1
        try:
            return await self._connection(route)
        finally:
            self._connecting -= Counter((route.engine_id,))

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

        def stepped(before: SchedulerStats, after: SchedulerStats) -> None:
            if self._observer is not None:
                self._observer.stepped(route.model_id, before, after)

        def ended(_connection: EngineConnection) -> None:
            self._connections.pop(route.engine_id, None)

        return EngineConnection(route.model_id, client, self._consumer, stepped, ended)

    async def _watch(self) -> None:
        """Follow the catalog's revision, through its restarts."""
        while True:
            try:
                table = await self.catalog.watch(self._table.revision)
            except CatalogError as error:
                _log.warning("%s", error)
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            _log_changes(self._table.engines, table.engines)
            self._table = table
            if self._observer is not None:
                for event in table.events:
                    self._observer.happened(event)


def _sum(stats: Sequence[SchedulerStats]) -> SchedulerStats:
    return SchedulerStats(**{field.name: sum(getattr(each, field.name) for each in stats) for field in fields(SchedulerStats)})


def _log_changes(before: Sequence[EngineStatus], after: Sequence[EngineStatus]) -> None:
    """Say in a line each what became of every engine."""
    known = {engine.engine_id: engine for engine in before}
    for engine in after:
        earlier = known.pop(engine.engine_id, None)
        if earlier is None or earlier.state != engine.state:
            _log_state(engine)
    for model_id in sorted({engine.model_id for engine in known.values()} - {engine.model_id for engine in after}):
        _log.info("%s is unloaded", model_id)


def _log_state(engine: EngineStatus) -> None:
    match engine.state:
        case "ready" if engine.info is not None:
            info = engine.info
            _log.info("%s is ready: process %d, %s, loaded in %.1f s", engine.model_id, info.pid, info.device, info.load_seconds)
            for warning in info.warnings:
                _log.warning("%s: %s", engine.model_id, warning)
        case "failed":
            _log.error("%s could not be loaded: %s", engine.model_id, engine.reason)
        case "waiting":
            _log.warning("the engine of %s ended and will be started again: %s", engine.model_id, engine.reason)
        case "loading" if engine.restarts:
            _log.warning("the engine of %s ended and is being started again (%d)", engine.model_id, engine.restarts)
        case "loading":
            _log.info("loading %s", engine.model_id)
        case _:
            _log.debug("%s: %s", engine.model_id, engine.state)
