"""The memory of all engines together: measured, promised to those that come, and made free by sending others away."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from actors.catalog.budget import Evict, Holding, Place, Standing, Verdict, decide, free_on, least_recent
from actors.catalog.engines import Engine, Spawn
from actors.catalog.memory import Need
from actors.contracts import EngineHost
from actors.control import LifeEvent, MemoryStatus
from actors.errors import InsufficientMemoryError

_HERE = ""  # this machine, where there is no choice


class Admission:
    """Promises memory to one engine at a time, so that no two are promised the same.

    What is free on a node is what it has for engines, less what those there were promised or take. A single machine is one node,
    which has the budget.

    Args:
        engines: Every engine that has not ended.
        tell: Called when one has been sent away.
    """

    def __init__(
        self, host: EngineHost, spawn: Spawn, engines: Callable[[], Sequence[Engine]], tell: Callable[[LifeEvent], None]
    ) -> None:
        self.budget = 0
        self._host, self._spawn, self._engines, self._tell = host, spawn, engines, tell
        self._cluster: Mapping[str, int] | None = None
        self._turn = asyncio.Lock()
        self._stirred = asyncio.Event()

    def status(self) -> MemoryStatus:
        """As of the last measurement."""
        engines = self._engines()
        reserved, measured = (sum(each.reserved for each in engines), sum(each.measured for each in engines))
        return MemoryStatus(sum(self._nodes.values()), reserved, measured)

    def stir(self) -> None:
        """Have those that wait for room look again."""
        self._stirred.set()
        self._stirred = asyncio.Event()

    async def measure(self) -> None:
        """Ask every engine what it takes, and the host what nodes there are."""
        await asyncio.gather(*(engine.measure() for engine in self._engines()))
        await self.survey()

    async def survey(self) -> None:
        """Ask the host what nodes there are."""
        self._cluster = await self._host.nodes()

    def is_there(self, node: str) -> bool:
        """Whether there was such a node at the last survey."""
        return node in self._nodes

    def may_fit(self, need: Need, *, evicting: bool) -> bool:
        """Whether a load would find room, as of the last measurement."""
        return decide(need.least, self._nodes, self._holdings(), evicting=evicting) is not Verdict.REFUSE

    def refusal(self, model_id: str, need: Need) -> InsufficientMemoryError:
        """The error that says why a model finds no room."""
        holding = ((engine.model_id, engine.holding()) for engine in self._engines())
        held = {each for each, its in holding if its.standing is Standing.HELD and its.reserved} - {model_id}
        free = max(self._free().values(), default=0)
        return InsufficientMemoryError(model_id, need.least, free, self.status().budget, sorted(held))

    async def admit(self, engine: Engine, need: Need, evicting: Callable[[], bool]) -> int:
        """Promise an engine a place and its memory, and send idle ones away for it; the KV that it gets of it, in bytes.

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
                place = await self._make_room(engine.model_id, need, evicting)
                if place is not None:
                    kv = need.kv(self._free()[place.node])
                    engine.promise(need.base + kv, place.node)
                    return kv
            await stirred.wait()

    async def trim(self) -> None:
        """Send idle engines away while all together take more than they may, the least recently used first.

        Not while room is being made for one that comes: that is the same work, and may take its time.
        """
        if self._turn.locked():
            return
        async with self._turn:
            while over := self._over():
                await self._evict(least_recent(over).engine_id)

    async def _make_room(self, model_id: str, need: Need, evicting: Callable[[], bool]) -> Place | None:
        """Where there is room now; None where there will be."""
        await self.measure()
        while True:
            decision = decide(need.least, self._nodes, self._holdings(), evicting=evicting())
            match decision:
                case Place():
                    return decision
                case Evict(engine_id):
                    await self._evict(engine_id)
                case Verdict.WAIT:
                    return None
                case Verdict.REFUSE:
                    raise self.refusal(model_id, need)

    async def _evict(self, engine_id: str) -> None:
        engine = next(each for each in self._engines() if each.engine_id == engine_id)
        # Whoever is admitted may be called off; an engine that was told to take no more must still be ended.
        await asyncio.shield(self._spawn(self._send_away(engine)))

    async def _send_away(self, engine: Engine) -> None:
        if await engine.evict():
            self._tell(LifeEvent(engine.model_id, "eviction", "memory"))

    def _over(self) -> list[Holding]:
        """Idle engines on nodes whose engines take more than they may."""
        free = self._free()
        return [each for each in self._holdings() if each.standing is Standing.IDLE and free.get(each.node, 0) < 0]

    @property
    def _nodes(self) -> Mapping[str, int]:
        return {_HERE: self.budget} if self._cluster is None else self._cluster

    def _holdings(self) -> list[Holding]:
        return [engine.holding() for engine in self._engines()]

    def _free(self) -> dict[str, int]:
        return free_on(self._nodes, self._holdings())
