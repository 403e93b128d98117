"""Engines in this process: real ones over a model without a tensor, started, found and killed like processes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace

from actors.contracts import EmbedJob, EngineInfo, EngineOptions, EngineSpec, EngineUsage, Job, RerankJob, Scores, Vectors
from actors.engine.kinds import LoadAny, new_engine
from actors.errors import EngineError
from tests.fakes.model import echo_backend


class LocalEngine:
    """One engine and its mortality.

    Args:
        takes: What a process of its own would take, in bytes.
    """

    def __init__(self, spec: EngineSpec, load_backend: LoadAny, takes: Callable[[EngineSpec], int]) -> None:
        self.takes = takes
        self.killed = asyncio.Event()  # it says not another word
        self.dead = asyncio.Event()  # killed, or broken with its last words said
        self.engine = new_engine(spec, load_backend, on_broken=lambda _reason: self.dead.set())

    @property
    def spec(self) -> EngineSpec:
        return self.engine.spec

    async def kill(self) -> None:
        self.killed.set()
        self.dead.set()
        await self.engine.stop()


class LocalEngineClient:
    """See `actors.contracts.EngineClient`; a killed engine answers as a dead process would."""

    def __init__(self, local: LocalEngine) -> None:
        self._local = local

    async def load(self) -> EngineInfo:
        return await self._alive(self._local.engine.load())

    async def submit(self, consumer: str, job: Job) -> int:
        return await self._alive(self._local.engine.submit(consumer, job))

    async def count(self, job: Job) -> int:
        return await self._alive(self._local.engine.count(job))

    async def abort(self, request_ids: Sequence[str]) -> None:
        await self._alive(self._local.engine.abort(request_ids))

    async def embed(self, job: EmbedJob) -> Vectors:
        return await self._alive(self._local.engine.embed(job))

    async def rerank(self, job: RerankJob) -> Scores:
        return await self._alive(self._local.engine.rerank(job))

    async def stream(self, consumer: str) -> AsyncIterator[bytes]:
        items = self._local.engine.stream(consumer)
        try:
            while True:
                try:
                    yield await self._alive(anext(items))
                except StopAsyncIteration:
                    return
        finally:
            await items.aclose()

    async def closed(self) -> None:
        await self._local.dead.wait()

    async def usage(self) -> EngineUsage:
        usage = await self._alive(self._local.engine.usage())
        return replace(usage, memory_bytes=self._local.takes(self._local.spec))

    async def retire(self, *, only_if_idle: bool = False) -> bool:
        return await self._alive(self._local.engine.retire(only_if_idle=only_if_idle))

    async def idle(self) -> None:
        await self._alive(self._local.engine.idle())

    async def configure(self, options: EngineOptions) -> None:
        await self._alive(self._local.engine.configure(options))

    async def _alive(self, work):
        """The work's result, or the error that a caller gets when the process ends under it."""
        task = asyncio.ensure_future(work)
        death = asyncio.ensure_future(self._local.killed.wait())
        try:
            await asyncio.wait({task, death}, return_when=asyncio.FIRST_COMPLETED)
            if self._local.killed.is_set():
                raise EngineError(self._local.spec.model.model_id, "its process has ended")
            return task.result()
        finally:
            death.cancel()
            task.cancel()
            await asyncio.wait({task, death})


class LocalHost:
    """See `actors.contracts.EngineHost`.

    Args:
        load_backend: What the engines load.
        takes: What an engine's process would take, in bytes; by default, what its spec expects.
    """

    def __init__(
        self,
        load_backend: LoadAny = echo_backend,
        takes: Callable[[EngineSpec], int] = lambda spec: spec.memory_bytes,
    ) -> None:
        self.load_backend = load_backend
        self.takes = takes
        self.started: list[EngineSpec] = []
        self._engines: dict[str, LocalEngine] = {}

    async def start(self, spec: EngineSpec) -> LocalEngineClient:
        self.started.append(spec)
        local = self._engines[spec.engine_id] = LocalEngine(spec, self.load_backend, self.takes)
        return LocalEngineClient(local)

    async def running(self) -> Sequence[tuple[EngineSpec, LocalEngineClient]]:
        return [(local.spec, LocalEngineClient(local)) for local in self._alive()]

    async def kill(self, engine_id: str) -> None:
        local = self._engines.get(engine_id)
        if local is not None and not local.killed.is_set():
            await local.kill()

    async def nodes(self) -> Mapping[str, int] | None:
        return None

    async def connect(self, engine_id: str) -> LocalEngineClient:
        for local in self._alive():
            if local.spec.engine_id == engine_id:
                return LocalEngineClient(local)
        raise EngineError(engine_id, "its process has ended")

    async def ended(self, engine_id: str) -> None:
        """Return once an engine has ended."""
        await self._engines[engine_id].dead.wait()

    async def stop(self) -> None:
        """End everything that a test left running, and what whoever killed it didn't wait for."""
        for local in self._engines.values():
            await local.kill()

    def _alive(self) -> list[LocalEngine]:
        return [local for local in self._engines.values() if not local.dead.is_set()]
