"""The memory of all engines together: measured, promised to those that come, and made free by sending others away."""

import asyncio
from collections.abc import Callable, Sequence

from actors.catalog.budget import Evict, Holding, Standing, Verdict, decide, least_recent
from actors.catalog.clock import Clock
from actors.catalog.engines import Engine, Spawn
from actors.catalog.memory import Need
from actors.contracts import EngineHost
from actors.control import MemoryStatus
from actors.errors import InsufficientMemoryError

_LOOK_SECONDS = 0.2
_LOOKS = 25  # at what a cluster's nodes have: it takes a moment to show that an engine has come or gone


class Admission:
    """Promises memory to one engine at a time, so that no two are promised the same.

    On one machine, what is free is the budget less what engines were promised or take. In a cluster, it is what the node with
    the most of it has, as the host tells.

    Args:
        engines: Every engine that has not ended.
    """

    def __init__(self, host: EngineHost, clock: Clock, spawn: Spawn, engines: Callable[[], Sequence[Engine]]) -> None:
        self.budget = 0
        self._host, self._clock, self._spawn, self._engines = host, clock, spawn, engines
        self._rooms: Sequence[int] | None = None
        self._turn = asyncio.Lock()
        self._stirred = asyncio.Event()

    def status(self) -> MemoryStatus:
        """As of the last measurement."""
        engines = self._engines()
        budget = self.budget if self._rooms is None else self._reserved() + sum(self._rooms)
        return MemoryStatus(budget, self._reserved(), sum(engine.measured for engine in engines))

    def stir(self) -> None:
        """Have those that wait for room look again."""
        self._stirred.set()
        self._stirred = asyncio.Event()

    async def measure(self) -> None:
        """Ask every engine what it takes, and the host what its nodes have."""
        await asyncio.gather(*(engine.measure() for engine in self._engines()))
        self._rooms = await self._host.room()

    def may_fit(self, need: Need, *, evicting: bool) -> bool:
        """Whether a load would find room, as of the last measurement."""
        if not evicting:
            return need.least <= self._free()
        return decide(need.least, self._free(), self._holdings()) is not Verdict.REFUSE

    def refusal(self, model_id: str, need: Need) -> InsufficientMemoryError:
        """The error that says why a model finds no room."""
        holding = ((engine.model_id, engine.holding()) for engine in self._engines())
        held = {each for each, its in holding if its.standing is Standing.HELD and its.reserved} - {model_id}
        return InsufficientMemoryError(model_id, need.least, self._free(), self.status().budget, sorted(held))

    async def admit(self, engine: Engine, need: Need, evicting: Callable[[], bool]) -> int:
        """Promise an engine its memory, and send idle ones away for it; the KV that it gets of it, in bytes.

        Where room is on its way, it waits for that without keeping others from theirs.

        Args:
            engine: One that has no process yet.
            need: What it would take.
            evicting: Whether others may be sent away for it.

        Raises `InsufficientMemoryError`.
        """
        while True:
            stirred = self._stirred
            async with self._turn:
                if await self._make_room(engine.model_id, need, evicting):
                    kv = need.kv(self._free())
                    engine.promise(need.base + kv)
                    return kv
            await stirred.wait()

    async def trim(self) -> None:
        """Send idle engines away while all together take more than they may, the least recently used first.

        Not while room is being made for one that comes: that is the same work, and may take its time.
        """
        if self._turn.locked():
            return
        async with self._turn:
            while self._free() < 0 and any(each.standing is Standing.IDLE for each in self._holdings()):
                await self._evict(least_recent(self._holdings()).engine_id)

    async def _make_room(self, model_id: str, need: Need, evicting: Callable[[], bool]) -> bool:
        """Whether there is room now; otherwise there will be."""
        await self.measure()
        while True:
            holdings = self._holdings() if evicting() else ()
            decision = decide(need.least, self._free(), holdings)
            if isinstance(decision, Evict):
                await self._evict(decision.engine_id)
            elif decision is Verdict.REFUSE and not self._unplaced():
                raise self.refusal(model_id, need)
            else:
                return decision is Verdict.FITS

    async def _evict(self, engine_id: str) -> None:
        engine = next(each for each in self._engines() if each.engine_id == engine_id)
        # Whoever is admitted may be called off; an engine that was told to take no more must still be ended.
        shown = engine.is_placed
        if not await asyncio.shield(self._spawn(engine.evict())) or self._rooms is None or not shown:
            return
        before = sum(self._rooms)
        for _ in range(_LOOKS):
            self._rooms = await self._host.room()
            if self._rooms is None or sum(self._rooms) > before:
                break
            await self._clock.sleep(_LOOK_SECONDS)

    def _holdings(self) -> list[Holding]:
        return [engine.holding() for engine in self._engines()]

    def _free(self) -> int:
        if self._rooms is None:
            return self.budget - self._reserved()
        return max(self._rooms, default=0) - self._unplaced()

    def _unplaced(self) -> int:
        """Bytes of engines that a cluster's nodes may not show yet."""
        return 0 if self._rooms is None else sum(engine.reserved for engine in self._engines() if not engine.is_placed)

    def _reserved(self) -> int:
        return sum(engine.reserved for engine in self._engines())
