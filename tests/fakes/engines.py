"""Engines that do as a test says, on a clock that a test moves: loads that wait, crashes, jobs, memory."""

import asyncio
import heapq
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import count

from actors.contracts import EngineInfo, EngineOptions, EngineSpec, EngineUsage
from actors.errors import EngineError, ModelLoadError


async def settle():
    """Return when nothing is left to do but to wait."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(0)
        if not loop._ready:
            return


class FakeClock:
    """See `actors.catalog.clock.Clock`; stands still until it is moved."""

    def __init__(self):
        self._now = 1000.0
        self._sleepers = []
        self._order = count()

    def now(self):
        return self._now

    async def sleep(self, seconds):
        waker = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), waker))
        await waker

    async def advance(self, seconds):
        """Let so much time pass, and everything happen that it brings."""
        end = self._now + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            when, _, waker = heapq.heappop(self._sleepers)
            if not waker.done():
                self._now = when
                waker.set_result(None)
                await settle()
        self._now = end


class ScriptedEngine:
    """A process, and an `actors.contracts.EngineClient` for it as far as the catalog uses one."""

    def __init__(self, host: "ScriptedHost", spec: EngineSpec) -> None:
        self.spec = spec
        self.options = spec.options
        self.in_flight = 0
        self.memory = 0
        self.retired = False
        self.loading = False
        self.hung = False  # it answers nothing any more
        self.dead = asyncio.Event()
        self._host = host
        self._idle = asyncio.Event()
        self._idle.set()
        self._idle_since = host.clock.now()
        self._ready_since: float | None = None

    def work(self, jobs: int) -> None:
        """Have so many jobs in flight."""
        self.in_flight = jobs
        self._idle_since = self._host.clock.now()
        if jobs:
            self._idle.clear()
        else:
            self._idle.set()

    def crash(self) -> None:
        """End as by SIGKILL."""
        self.dead.set()

    async def load(self) -> EngineInfo:
        model_id = self.spec.model.model_id
        self.loading = True
        await self._alive(self._host.gates[model_id].wait())
        self.loading = False
        if model_id in self._host.unloadable:
            raise ModelLoadError(model_id, self._host.unloadable[model_id])
        self._idle_since = self._host.clock.now()
        if self._ready_since is None:
            self._ready_since = self._idle_since
        return EngineInfo(self.spec.engine_id, model_id, 1, "cpu", 100, 0.0)

    async def usage(self) -> EngineUsage:
        await self._alive(self._answer())
        idle = 0.0 if self.in_flight else self._host.clock.now() - self._idle_since
        ready = 0.0 if self._ready_since is None else self._host.clock.now() - self._ready_since
        return EngineUsage(self.in_flight, idle, self.memory, self.retired, ready)

    async def retire(self, *, only_if_idle: bool = False) -> bool:
        await self._alive(self._answer())
        self.retired = self.retired or not (only_if_idle and self.in_flight)
        return self.retired

    async def idle(self) -> None:
        await self._alive(self._idle.wait())

    async def configure(self, options: EngineOptions) -> None:
        await self._alive(self._answer())
        self.options = options

    async def closed(self) -> None:
        await self.dead.wait()

    async def _answer(self):
        if self.hung:
            await self.dead.wait()

    async def _alive(self, work):
        task, death = asyncio.ensure_future(work), asyncio.ensure_future(self.dead.wait())
        try:
            await asyncio.wait({task, death}, return_when=asyncio.FIRST_COMPLETED)
            if self.dead.is_set():
                raise EngineError(self.spec.model.model_id, "its process has ended")
            return task.result()
        finally:
            task.cancel()
            death.cancel()


class ScriptedHost:
    """See `actors.contracts.EngineHost`.

    Attributes:
        unloadable: Why a model's loads fail, by model.
        refusals: What the next starts raise.
        started: Every spec.
        cluster: What `nodes` says.
        immortal: Engines that take their time to die: `finish_off` ends them.
    """

    engine_class = ScriptedEngine

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.gates = defaultdict(_open_gate)
        self.unloadable: dict[str, str] = {}
        self.refusals: list[Exception] = []
        self.started: list[EngineSpec] = []
        self.cluster: Mapping[str, int] | None = None
        self.immortal: set[str] = set()
        self._engines: dict[str, ScriptedEngine] = {}

    def alive(self, model_id: str | None = None) -> list[ScriptedEngine]:
        """The processes that have not ended, of a model or of all."""
        found = [engine for engine in self._engines.values() if not engine.dead.is_set()]
        return [engine for engine in found if model_id in (None, engine.spec.model.model_id)]

    def hold(self, model_id: str) -> None:
        """Have a model's loads wait."""
        self.gates[model_id].clear()

    def release(self, model_id: str) -> None:
        """Let them go on."""
        self.gates[model_id].set()

    def finish_off(self, engine_id: str) -> None:
        """Let a process end that was killed and took its time."""
        self.immortal.discard(engine_id)
        self._engines[engine_id].dead.set()

    async def start(self, spec: EngineSpec) -> ScriptedEngine:
        self.started.append(spec)
        if self.refusals:
            raise self.refusals.pop(0)
        engine = self._engines[spec.engine_id] = self.engine_class(self, spec)
        return engine

    async def running(self) -> Sequence[tuple[EngineSpec, ScriptedEngine]]:
        return [(engine.spec, engine) for engine in self.alive()]

    async def kill(self, engine_id: str) -> None:
        engine = self._engines.get(engine_id)
        if engine is not None and engine_id not in self.immortal:
            engine.dead.set()

    async def connect(self, engine_id: str) -> ScriptedEngine:
        engine = self._engines.get(engine_id)
        if engine is None or engine.dead.is_set():
            raise EngineError(engine_id, "its process has ended")
        return engine

    async def nodes(self) -> Mapping[str, int] | None:
        return self.cluster


def _open_gate() -> asyncio.Event:
    gate = asyncio.Event()
    gate.set()
    return gate
