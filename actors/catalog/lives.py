"""What an engine goes through from its beginning, and what follows from its end."""

import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any, Literal

from actors.catalog.admission import Admission
from actors.catalog.backoff import MOST_CRASHES
from actors.catalog.clock import Clock
from actors.catalog.engines import Engine, NotStartedError, Spawn
from actors.catalog.fleet import Fleet
from actors.catalog.memory import Need
from actors.catalog.wanted import Limits, Wanted
from actors.contracts import EngineClient, EngineHost, EngineSpec
from actors.control import LifeEvent
from actors.errors import EngineError, InsufficientMemoryError, ModelLoadError

_log = logging.getLogger(__name__)
_RETRY_SECONDS = 5.0  # before what failed, and may work another time, is tried again unasked


@dataclass(frozen=True, slots=True)
class Ground:
    """What lives are led on.

    Attributes:
        changed: Called after every change that a routing table shows.
        tell: Called with what becomes of engines.
        spawn: Runs something beside everything else.
        backend: What loads models; see `EngineSpec`.
        need: What an engine for a model would take.
    """

    host: EngineHost
    clock: Clock
    changed: Callable[[], None]
    tell: Callable[[LifeEvent], None]
    spawn: Spawn
    backend: str
    need: Callable[[Wanted], Need]


class Lives:
    """Begins engines, and sees each through to its end.

    Args:
        reconcile: Called when an engine has come up and when one has ended, to bring its model to what is wanted.
    """

    def __init__(self, ground: Ground, admission: Admission, reconcile: Callable[[Fleet], None]) -> None:
        self.limits = Limits(0, 0.0)
        self._ground, self._admission, self._reconcile = ground, admission, reconcile

    def begin(self, fleet: Fleet, delay: float = 0.0, reason: str | None = None) -> Engine:
        """Bring up another engine; known from here on, so that whoever asks waits for it."""
        assert fleet.wanted is not None
        assert len(fleet.up) < fleet.wanted.replicas
        engine = self._engine(fleet.wanted)
        engine.state, engine.reason = "waiting" if delay else "loading", reason
        self._live(fleet, engine, self._rise(fleet, engine, delay))
        return engine

    def adopt(self, fleet: Fleet, spec: EngineSpec, client: EngineClient) -> None:
        """Take over an engine that runs."""
        # What its options say of KV may be the setting's or what was free at the time. Where no setting is there, it doesn't matter.
        derived = fleet.wanted is not None and fleet.wanted.options.kv_cache_bytes is None
        options = replace(spec.options, kv_cache_bytes=None) if derived else spec.options
        engine = self._engine(Wanted(spec.model, options), spec.engine_id)
        engine.adopt(client, spec.memory_bytes, spec.node)
        self._live(fleet, engine, self._load(fleet, engine))

    def _engine(self, wanted: Wanted, engine_id: str = "") -> Engine:
        ground = self._ground
        return Engine(wanted, ground.host, ground.clock, ground.spawn, ground.changed, engine_id=engine_id)

    def _live(self, fleet: Fleet, engine: Engine, rise: Coroutine[Any, Any, None]) -> None:
        fleet.engines.append(engine)
        engine.rising = self._ground.spawn(rise)
        self._ground.spawn(self._see_through(fleet, engine))
        self._ground.changed()

    async def _rise(self, fleet: Fleet, engine: Engine, delay: float) -> None:
        wanted = engine.wanted
        if delay:
            await self._ground.clock.sleep(delay)
            engine.become("loading")
        need = self._ground.need(wanted)
        kv = await self._admission.admit(engine, need, evicting=lambda: not fleet.ready)
        options = replace(wanted.options, kv_cache_bytes=kv)
        spec = EngineSpec(engine.engine_id, wanted.model, options, self._ground.backend, need.base + kv, engine.node)
        began = self._ground.clock.now()
        await engine.start(spec, self.limits.load_seconds)
        await self._load(fleet, engine)
        self._tell(fleet, "load", "success", self._ground.clock.now() - began)

    async def _load(self, fleet: Fleet, engine: Engine) -> None:
        await engine.load(self.limits.load_seconds)
        fleet.backoff.loaded()
        fleet.reason, fleet.failed_id = None, ""
        self._reconcile(fleet)

    async def _see_through(self, fleet: Fleet, engine: Engine) -> None:
        """An engine's life, to its end and what follows from that."""
        error = await engine.see_through()
        if isinstance(error, EngineError):
            await self._admission.survey()
        fleet.engines.remove(engine)
        if not engine.ending:
            self._conclude(fleet, engine, error)
        self._reconcile(fleet)
        self._ground.changed()
        self._admission.stir()

    def _conclude(self, fleet: Fleet, engine: Engine, error: BaseException | None) -> None:
        """What an end means that nobody asked for."""
        retry_at = self._ground.clock.now() + _RETRY_SECONDS
        match error:
            case None | EngineError():
                if error is not None:
                    self._tell(fleet, "load", "crashed")
                self._crashed(fleet, engine, error)
            case InsufficientMemoryError():
                self._tell(fleet, "load", "no_memory")
                fleet.fail(engine, str(error), until_changed=False, retry_at=retry_at)
                engine.settle(error)
            case ModelLoadError():
                self._tell(fleet, "load", "failed")
                self._fail(fleet, engine, error.reason)
            case _:
                self._tell(fleet, "load", "not_started")
                reason = f"its process could not be started: {error}"
                _log.error("%s: %s", fleet.model_id, reason, exc_info=None if isinstance(error, NotStartedError) else error)
                fleet.fail(engine, reason, until_changed=False, retry_at=retry_at)
                engine.settle(ModelLoadError(fleet.model_id, reason))

    def _crashed(self, fleet: Fleet, engine: Engine, error: EngineError | None) -> None:
        # One that went down with its node while it came up says nothing of its model.
        loading = error is not None and self._admission.is_there(engine.node)
        reason = "its process ended while loading" if loading else "its process ended"
        delay = fleet.backoff.crashed(self._ground.clock.now(), loading=loading)
        if delay is None:
            times = "twice" if loading else f"{MOST_CRASHES} times within ten minutes"
            self._fail(fleet, engine, f"{reason}, {times}")
            return
        engine.settle(None)
        if fleet.wanted is None or fleet.unloaded or len(fleet.up) >= fleet.wanted.replicas:
            return
        _log.warning("%s of %s: %s; starting it again in %g s", engine.engine_id, fleet.model_id, reason, delay)
        fleet.restarts += 1
        self._tell(fleet, "restart")
        self.begin(fleet, delay, reason)

    def _tell(self, fleet: Fleet, kind: Literal["load", "restart"], result: str = "", seconds: float = 0.0) -> None:
        self._ground.tell(LifeEvent(fleet.model_id, kind, result, seconds))

    def _fail(self, fleet: Fleet, engine: Engine, reason: str) -> None:
        """Give up until something changes."""
        _log.error("%s could not be loaded: %s", fleet.model_id, reason)
        fleet.fail(engine, reason, until_changed=True, retry_at=self._ground.clock.now())
        engine.settle(ModelLoadError(fleet.model_id, reason))
