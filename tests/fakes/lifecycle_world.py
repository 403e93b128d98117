"""A lifecycle on a clock that tests move, over engines that do as tests say; each engine takes 1 GB unless a test says otherwise."""

import asyncio
from dataclasses import replace
from pathlib import Path

from actors.catalog.lifecycle import Lifecycle
from actors.catalog.wanted import Limits, Wanted
from actors.contracts import EngineOptions
from actors.models import ModelInfo
from tests.fakes.engines import FakeClock, ScriptedHost, settle

GB = 1_000_000_000
_KV = 100_000_000
_PROCESS = 400_000_000


def wanted(model_id, gb=1.0, revision="r1", options=None, **fields):
    """A model that takes so many GB."""
    model = ModelInfo(model_id, Path("/models") / model_id, parameters=int(gb * GB - _KV - _PROCESS) // 4, revision=revision)
    options = replace(options or EngineOptions(), kv_cache_bytes=_KV)
    return Wanted(model, options, **fields)


class World:
    """See this module.

    Attributes:
        models: What is wanted, by id.
        tables: How often the routing table has changed.
        events: What became of engines.
    """

    def __init__(self, *models, gb=10.0, load_seconds=60.0):
        self.clock = FakeClock()
        self.host = ScriptedHost(self.clock)
        self.limits = Limits(int(gb * GB), load_seconds)
        self.models = {model.model.model_id: model for model in models}
        self.tables = 0
        self.events = []
        self.lifecycle = self.new_lifecycle()

    def new_lifecycle(self):
        return Lifecycle(self.host, self._changed, self.events.append, clock=self.clock)

    async def rebirth(self):
        """Have the lifecycle die as a process does, and another one begin."""
        for task in self.lifecycle._tasks:
            task.cancel()
        await settle()
        self.lifecycle = self.new_lifecycle()
        await self.start()

    async def start(self):
        await self.lifecycle.start(self.models, self.limits)
        await settle()

    async def want(self, *models, gone=(), gb=None):
        """Have models wanted otherwise, or no longer, or other memory."""
        self.models |= {model.model.model_id: model for model in models}
        self.models = {model_id: model for model_id, model in self.models.items() if model_id not in gone}
        if gb is not None:
            self.limits = replace(self.limits, memory=int(gb * GB))
        self.lifecycle.want(self.models, self.limits)
        await settle()

    async def tick(self, seconds=1):
        """Let time pass as the catalog does, a second at a time."""
        for _ in range(seconds):
            await self.clock.advance(1)
            await self.lifecycle.tick()
            await settle()

    async def route(self, *model_ids):
        """Have models loaded one after another, their callers' requests long ended."""
        for model_id in model_ids:
            await self.lifecycle.route(model_id)
            await self.clock.advance(2)

    def engine(self, model_id):
        """The one process of a model."""
        (engine,) = self.host.alive(model_id)
        return engine

    @property
    def up(self):
        """The models that are served."""
        return sorted(self.lifecycle.routes())

    def state(self, model_id):
        return self.lifecycle.fleet(model_id).state

    def _changed(self):
        self.tables += 1


def run(test, *models, **options):
    async def body():
        world = World(*models, **options)
        try:
            await world.start()
            await asyncio.wait_for(test(world), 10)
        finally:
            await world.lifecycle.stop()
            await settle()

    asyncio.run(body())
