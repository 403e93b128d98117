"""Which engines are up, and why: starts them, waits for their loads, notices their deaths, adopts those it finds."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from uuid import uuid4

from actors.contracts import (
    CatalogConfig,
    EngineClient,
    EngineHost,
    EngineInfo,
    EngineSpec,
    EngineState,
    EngineStatus,
    ModelInfo,
    Route,
)
from actors.errors import EngineError, ModelLoadError

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Engine:
    """One engine that the catalog knows of; `ready` resolves when it serves, or with the reason why it doesn't."""

    spec: EngineSpec
    ready: asyncio.Future[Route]
    restarts: int = 0
    state: EngineState = "loading"
    reason: str | None = None
    info: EngineInfo | None = None


class Lifecycle:
    """At most one engine a model. Belongs to one event loop.

    Args:
        host: Starts and kills processes.
        config: What engines are started with.
        changed: Called after every change that a routing table shows.
    """

    def __init__(self, host: EngineHost, config: CatalogConfig, changed: Callable[[], None]) -> None:
        self._host = host
        self._config = config
        self._changed = changed
        self._engines: dict[str, _Engine] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def adopt(self) -> None:
        """Take over the engines that are alive already, from an earlier life of this catalog."""
        for spec, client in await self._host.running():
            _log.info("adopting the engine of %s", spec.model.model_id)
            self._spawn(self._see_through(self._enter(spec), client))

    async def route(self, model: ModelInfo, gone: str | None = None) -> Route:
        """The engine that serves a model; starts one if there is none. Any number of callers wait for one load.

        Args:
            model: The model.
            gone: An engine that the caller found dead: it is not given again.

        Raises `ModelLoadError`.
        """
        engine = self._engines.get(model.model_id)
        if engine is None or engine.state == "failed" or engine.spec.engine_id == gone:
            engine = self._start(model, replaces=engine)
        return await asyncio.shield(engine.ready)

    def statuses(self) -> tuple[EngineStatus, ...]:
        """Every engine, by model."""
        return tuple(
            EngineStatus(model_id, engine.spec.engine_id, engine.state, engine.restarts, engine.reason, engine.info)
            for model_id, engine in sorted(self._engines.items())
        )

    def routes(self) -> dict[str, Route]:
        """The engines that serve, by model."""
        return {
            model_id: Route(model_id, engine.spec.engine_id)
            for model_id, engine in sorted(self._engines.items())
            if engine.state == "ready"
        }

    async def stop(self) -> None:
        """Kill every engine."""
        for task in self._tasks:
            task.cancel()
        engines, self._engines = list(self._engines.values()), {}
        await asyncio.gather(*(self._host.kill(engine.spec.engine_id) for engine in engines))

    def _start(self, model: ModelInfo, replaces: _Engine | None) -> _Engine:
        restarts = replaces.restarts + 1 if replaces is not None and replaces.state == "ready" else 0
        config = self._config
        spec = EngineSpec(f"{model.model_id}-{uuid4().hex[:8]}", model, config.options, config.backend)
        # Known before its process is: whoever asks meanwhile waits for this one.
        engine = self._enter(spec, restarts)
        self._spawn(self._bring_up(engine, replaces))
        return engine

    def _enter(self, spec: EngineSpec, restarts: int = 0) -> _Engine:
        engine = _Engine(spec, asyncio.get_running_loop().create_future(), restarts)
        self._engines[spec.model.model_id] = engine
        self._changed()
        return engine

    async def _bring_up(self, engine: _Engine, replaces: _Engine | None) -> None:
        if replaces is not None:
            await self._host.kill(replaces.spec.engine_id)
        try:
            client = await self._host.start(engine.spec)
        except Exception as error:
            self._fail(engine, f"its process could not be started: {error}")
            return
        await self._see_through(engine, client)

    async def _see_through(self, engine: _Engine, client: EngineClient) -> None:
        """Wait for an engine's load, then for its end; an end that nobody asked for starts the next one."""
        if not await self._load(engine, client):
            await self._host.kill(engine.spec.engine_id)
            return
        await client.closed()
        model = engine.spec.model
        if self._engines.get(model.model_id) is engine:
            _log.warning("the engine of %s (%s) has ended; starting it again", model.model_id, engine.spec.engine_id)
            self._start(model, replaces=engine)

    async def _load(self, engine: _Engine, client: EngineClient) -> bool:
        try:
            info = await asyncio.wait_for(client.load(), self._config.load_timeout_seconds)
        except TimeoutError:
            self._fail(engine, f"it was not loaded within {self._config.load_timeout_seconds:.0f} s and was ended")
            return False
        except ModelLoadError as error:
            self._fail(engine, error.reason)
            return False
        except EngineError as error:
            self._fail(engine, f"its process ended while loading: {error.reason}")
            return False
        _log.info(
            "%s is served by %s (process %d, %s, loaded in %.1f s)",
            info.model_id, info.engine_id, info.pid, info.device, info.load_seconds,
        )  # fmt: skip
        engine.state, engine.info = "ready", info
        engine.ready.set_result(Route(info.model_id, info.engine_id))
        self._changed()
        return True

    def _fail(self, engine: _Engine, reason: str) -> None:
        _log.error("%s could not be loaded: %s", engine.spec.model.model_id, reason)
        engine.state, engine.reason = "failed", reason
        engine.ready.set_exception(ModelLoadError(engine.spec.model.model_id, reason))
        engine.ready.exception()  # it is the waiters' to report; there may be none
        self._changed()

    def _spawn(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
