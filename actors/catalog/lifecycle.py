"""Which engines are up, and why: brings them to what is wanted, through failed loads, crashes and want of memory."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from actors.catalog.admission import Admission
from actors.catalog.clock import Clock, SystemClock
from actors.catalog.engines import Engine
from actors.catalog.fleet import Fleet
from actors.catalog.lives import Ground, Lives
from actors.catalog.memory import Device, Need, need_of
from actors.catalog.wanted import Limits, Wanted
from actors.contracts import MLX_BACKEND, EngineHost, Route
from actors.control import EngineStatus, LifeEvent, MemoryStatus
from actors.errors import ModelLoadError, ModelNotFoundError

_log = logging.getLogger(__name__)


class Lifecycle:
    """Belongs to one event loop. No model has more engines that serve or come up than it should, at any moment.

    Args:
        host: Starts and kills processes.
        changed: Called after every change that a routing table shows.
        tell: Called with what becomes of engines.
        device: What engines compute on, for estimates of their memory.
        backend: What loads models; see `EngineSpec`.
    """

    def __init__(
        self,
        host: EngineHost,
        changed: Callable[[], None],
        tell: Callable[[LifeEvent], None],
        *,
        device: Device = "cpu",
        backend: str = MLX_BACKEND,
        clock: Clock | None = None,
    ) -> None:
        self._host, self._device = host, device
        self._clock = clock or SystemClock()
        self._fleets: dict[str, Fleet] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._tell = tell
        self._admission = Admission(host, self._spawn, self._engines, tell)
        ground = Ground(host, self._clock, changed, tell, self._spawn, backend, self._need)
        self._lives = Lives(ground, self._admission, self._reconcile)

    async def start(self, wanted: Mapping[str, Wanted], limits: Limits) -> None:
        """Take over the engines that are alive, from an earlier life of the catalog, and load what is pinned."""
        found = await self._host.running()
        for spec, client in found:
            model_id = spec.model.model_id
            _log.info("adopting the engine of %s", model_id)
            self._lives.adopt(self._fleets.setdefault(model_id, Fleet(model_id, wanted.get(model_id))), spec, client)
        self.want(wanted, limits)

    def want(self, wanted: Mapping[str, Wanted], limits: Limits) -> None:
        """Have other models served, or otherwise. What runs for nobody any more finishes its requests and ends."""
        self._admission.budget, self._lives.limits = limits.memory, limits
        for model_id in self._fleets.keys() | wanted.keys():
            fleet = self._fleets.setdefault(model_id, Fleet(model_id))
            before, fleet.wanted = fleet.wanted, wanted.get(model_id)
            if fleet.wanted is not None and fleet.wanted.is_pinned and not (before is not None and before.is_pinned):
                fleet.unloaded = False
            self._reconcile(fleet)
        self._admission.stir()

    async def route(self, model_id: str, gone: str | None = None) -> Route:
        """An engine that serves a model, started if there is none. Any number of callers wait for one load.

        Args:
            model_id: The model.
            gone: An engine that the caller found dead: it is not given again.

        Raises `ModelNotFoundError`, `ModelLoadError` or `InsufficientMemoryError`.
        """
        while True:
            if gone is not None:
                await self._look_after(model_id, gone)
            fleet = self._fleet(model_id)
            fleet.unloaded = False
            if fleet.ready:
                return min(fleet.ready, key=lambda engine: engine.last_used).route()
            if fleet.failed_for is not None:
                raise ModelLoadError(model_id, fleet.reason or "")
            engine = next(iter(fleet.coming), None) or self._lives.begin(fleet)
            engine.awaited += 1
            try:
                await asyncio.shield(engine.up)
            finally:
                engine.awaited -= 1

    async def load(self, model_id: str) -> None:
        """Load a model now, though it failed or crashed before. Raises as `route` does."""
        fleet = self._fleet(model_id)
        fleet.forget()
        for engine in fleet.coming:
            if engine.state == "waiting":
                engine.end()
        await self.route(model_id)

    async def unload(self, model_id: str, *, cancel: bool = False) -> None:
        """End a model's engines, once they have finished what they have or at once; returns when they have ended.

        A load that has not come to its end is called off. Even a pinned model stays unloaded until somebody asks for it.
        Raises `ModelNotFoundError`.
        """
        fleet = self._fleet(model_id)
        fleet.unloaded = True
        engines = list(fleet.engines)
        for engine in engines:
            if cancel or engine.is_coming:
                engine.end(ModelLoadError(model_id, "it was unloaded meanwhile"))
            else:
                engine.drain()
        await asyncio.gather(*(engine.over.wait() for engine in engines))

    async def tick(self) -> None:
        """What time brings: memory that grew, models that nobody has asked for in a while, and what may be started by now."""
        await self._admission.measure()
        await self._admission.trim()
        await asyncio.gather(*(self._expire(fleet) for fleet in list(self._fleets.values())))
        for fleet in list(self._fleets.values()):
            self._reconcile(fleet)
        self._admission.stir()

    async def measure(self) -> None:
        """Ask every engine what it does and takes."""
        await self._admission.measure()

    def memory(self) -> MemoryStatus:
        """The memory of all engines, as of the last measurement."""
        return self._admission.status()

    def fleet(self, model_id: str) -> Fleet:
        """A model's engines; to look at."""
        return self._fleets.get(model_id) or Fleet(model_id)

    def statuses(self) -> tuple[EngineStatus, ...]:
        """Every engine, by model."""
        return tuple(status for _, fleet in sorted(self._fleets.items()) for status in fleet.statuses)

    def routes(self) -> dict[str, tuple[Route, ...]]:
        """The engines that serve, by model."""
        return {model_id: fleet.routes for model_id, fleet in sorted(self._fleets.items()) if fleet.ready}

    async def stop(self) -> None:
        """Kill every engine."""
        engines = self._engines()
        self._fleets.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(self._host.kill(engine.engine_id) for engine in engines))

    def _fleet(self, model_id: str) -> Fleet:
        fleet = self._fleets.get(model_id)
        if fleet is None or fleet.wanted is None:
            raise ModelNotFoundError(model_id, sorted(each for each, its in self._fleets.items() if its.wanted is not None))
        return fleet

    def _engines(self) -> list[Engine]:
        return [engine for fleet in self._fleets.values() for engine in fleet.engines]

    def _reconcile(self, fleet: Fleet) -> None:
        """Bring a model's engines to what is wanted; doing it again changes nothing."""
        wanted = fleet.wanted
        if wanted is None:
            for engine in fleet.up:
                engine.drain()
            if not fleet.engines:
                self._fleets.pop(fleet.model_id, None)
            return
        if fleet.failed_for not in (None, wanted):
            fleet.forget()
        for engine in fleet.up:
            if engine.wanted.load_key == wanted.load_key:
                engine.is_pinned = wanted.is_pinned
                engine.configure(wanted.options)
            else:
                engine.drain()
        for engine in fleet.surplus:
            engine.drain()
        self._start_unasked(fleet, wanted)

    def _start_unasked(self, fleet: Fleet, wanted: Wanted) -> None:
        """Load what is pinned, and start replicas of what serves already: these take free memory alone."""
        if fleet.unloaded or fleet.failed_for is not None or self._clock.now() < fleet.retry_at:
            return
        need = self._need(wanted)
        if fleet.ready and len(fleet.up) < wanted.replicas and not fleet.is_expired:
            if self._admission.may_fit(need, evicting=False):
                self._lives.begin(fleet)
        elif wanted.is_pinned and not fleet.up:
            if self._admission.may_fit(need, evicting=True):
                self._lives.begin(fleet)
            else:
                fleet.reason = str(self._admission.refusal(fleet.model_id, need))

    async def _look_after(self, model_id: str, engine_id: str) -> None:
        """See to an engine that somebody found dead. If its process is alive, it finishes what it has and is replaced."""
        engine = next((each for each in self._fleet(model_id).ready if each.engine_id == engine_id), None)
        if engine is None:
            return
        if await engine.is_alive():
            engine.drain()
        else:
            await self._host.kill(engine_id)
            await engine.over.wait()

    async def _expire(self, fleet: Fleet) -> None:
        if fleet.is_expired:
            _log.info("unloading %s, which nobody has asked for in a while", fleet.model_id)
            for gone in await asyncio.gather(*(engine.evict() for engine in fleet.ready)):
                if gone:
                    self._tell(LifeEvent(fleet.model_id, "eviction", "idle"))

    def _need(self, wanted: Wanted) -> Need:
        return need_of(wanted.model, wanted.options, self._device)

    def _spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
