"""Whatever happens in whatever order: the budget holds, what is pinned is there, and no model has an engine too many."""

import asyncio
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from actors.catalog.memory import need_of
from actors.contracts import EngineOptions, Route
from actors.errors import InsufficientMemoryError, ModelLoadError, ModelNotFoundError
from tests.fakes.engines import ScriptedEngine, ScriptedHost, settle
from tests.fakes.lifecycle_world import World, wanted

SIZES = {"a": 1.0, "b": 1.0, "c": 2.0, "d": 3.0}
DOCUMENTED = (Route, ModelLoadError, InsufficientMemoryError, ModelNotFoundError)
NODES = {"north": 3_000_000_000, "south": 4_000_000_000}
names = st.sampled_from(sorted(SIZES))
picks = st.integers(0, 9)


CHANGES = (
    {"is_pinned": True}, {"is_pinned": False},
    {"replicas": 1}, {"replicas": 2}, {"replicas": 3},
    {"ttl_seconds": None}, {"ttl_seconds": 2}, {"ttl_seconds": 10},
    *({"options": EngineOptions(most, trust_remote_code=trust)} for most in (2, 3) for trust in (False, True)),
)  # fmt: skip


class StrictEngine(ScriptedEngine):
    """Notes when it is to be sent away and mustn't be."""

    async def retire(self, *, only_if_idle=False):
        model = self._host.world.models.get(self.spec.model.model_id)
        if only_if_idle and model is not None and model.is_pinned:
            self._host.wrongs.append(f"{self.spec.engine_id} is pinned, and was to be sent away")
        return await super().retire(only_if_idle=only_if_idle)


class StrictHost(ScriptedHost):
    """Notes starts that mustn't be."""

    engine_class = StrictEngine

    def __init__(self, clock, world):
        super().__init__(clock)
        self.world = world
        self.wrongs = []

    async def start(self, spec):
        client = await super().start(spec)
        nodes = {"": self.world.limits.memory} if self.cluster is None else self.cluster
        taken = sum(max(engine.spec.memory_bytes, engine.memory) for engine in self.alive() if engine.spec.node == spec.node)
        fleet = self.world.lifecycle.fleet(spec.model.model_id)
        if spec.node not in nodes:
            client.crash()  # its node has gone since somebody looked
        elif taken > nodes[spec.node]:
            self.wrongs.append(f"with {spec.engine_id}, processes on {spec.node!r} take {taken} bytes")
        if fleet.wanted is None or len(fleet.up) > fleet.wanted.replicas:
            self.wrongs.append(f"{spec.engine_id} is one too many")
        return client


class Anything(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.runner = asyncio.Runner()
        self.calls = []
        self.wrongs = []
        self.ticking = None

    def run(self, do, *args):
        """Let something happen, and everything that follows at once."""

        async def body():
            asyncio.get_running_loop().set_exception_handler(lambda _loop, context: self.wrongs.append(context))
            await do(*args)
            await settle()

        self.runner.run(body())

    @initialize(requested=st.lists(names, max_size=4), gb=st.sampled_from([3.0, 4.0, 6.0]), in_cluster=st.booleans())
    def begin(self, requested, gb, in_cluster):
        async def body():
            self.world = World(*(wanted(name, size) for name, size in SIZES.items()), gb=gb)
            self.host = self.world.host = StrictHost(self.world.clock, self.world)
            self.host.cluster = dict(NODES) if in_cluster else None
            self.wrongs = self.host.wrongs
            self.world.lifecycle = self.world.new_lifecycle()
            await self.world.start()

        self.run(body)
        self.request(requested)
        self.pass_time(2)

    def call(self, work):
        async def body():
            self.calls.append(asyncio.ensure_future(work))

        self.run(body)

    def some_engine(self, pick):
        alive = self.host.alive()
        return alive[pick % len(alive)] if alive else None

    @rule(requested=st.lists(names, min_size=1, max_size=3))
    def request(self, requested):
        for name in requested:
            self.call(self.world.lifecycle.route(name))

    @rule(name=names, pick=picks)
    def request_that_found_an_engine_dead(self, name, pick):
        routes = self.world.lifecycle.routes().get(name, ())
        if routes:
            self.call(self.world.lifecycle.route(name, gone=routes[pick % len(routes)].engine_id))

    @rule(name=names, how=st.sampled_from(["load", "unload", "cancel", "leave"]))
    def ask_by_hand(self, name, how):
        if how == "load":
            self.call(self.world.lifecycle.load(name))
        elif how == "leave" and self.calls:
            self.calls[-1].cancel()
            self.run(settle)
        else:
            self.call(self.world.lifecycle.unload(name, cancel=how == "cancel"))

    @rule(name=names, change=st.sampled_from(CHANGES))
    def change_settings(self, name, change):
        if name in self.world.models:
            model = self.world.models[name]
            if "options" in change:
                change = {"options": replace(change["options"], kv_cache_bytes=model.options.kv_cache_bytes)}
            self.run(self.world.want, replace(model, **change))

    @rule(name=names, revision=st.sampled_from(["r1", "r2", None]))
    def change_folder(self, name, revision):
        model = self.world.models.get(name, wanted(name, SIZES[name]))
        if revision is None and name in self.world.models:
            self.run(lambda: self.world.want(gone=(name,)))
        elif revision is not None:
            self.run(self.world.want, replace(model, model=replace(model.model, revision=revision)))

    @rule(gb=st.sampled_from([2.0, 4.0, 6.0]))
    def change_budget(self, gb):
        self.run(lambda: self.world.want(gb=gb))

    @rule(node=st.sampled_from(sorted(NODES)))
    def node_leaves_or_comes_back(self, node):
        if self.host.cluster is None:
            return
        if node not in self.host.cluster:
            self.host.cluster = self.host.cluster | {node: NODES[node]}
        else:
            self.host.cluster = {name: memory for name, memory in self.host.cluster.items() if name != node}
            for engine in self.host.alive():
                if engine.spec.node == node:
                    engine.crash()
        self.run(settle)

    @rule(pick=picks, jobs=st.integers(0, 2), share=st.sampled_from([0.5, 1.0, 1.5]))
    def work(self, pick, jobs, share):
        if engine := self.some_engine(pick):
            if not engine.retired or jobs < engine.in_flight:  # it takes no more then
                engine.work(jobs)
            engine.memory = int(engine.spec.memory_bytes * share)
            self.run(settle)

    @rule(pick=picks, what=st.sampled_from(["crash", "hang", "take time to die"]))
    def trouble_a_process(self, pick, what):
        if engine := self.some_engine(pick):
            if what == "crash":
                engine.crash()
            elif what == "hang":
                engine.hung = True
            else:
                self.host.immortal.add(engine.spec.engine_id)
            self.run(settle)

    @rule(name=names, what=st.sampled_from(["hold", "go on", "break", "mend", "refuse"]))
    def trouble_loads(self, name, what):
        self.host.release(name)
        self.host.unloadable.pop(name, None)
        if what == "hold":
            self.host.hold(name)
        elif what == "break":
            self.host.unloadable[name] = "broken"
        elif what == "refuse":
            self.host.refusals[:] = [OSError("no more processes")]
        self.run(settle)

    @rule(seconds=st.sampled_from([1, 2, 5]))
    def pass_time(self, seconds):
        self.run(self._pass_time, seconds)

    async def _pass_time(self, seconds):
        for _ in range(seconds):
            await self.world.clock.advance(1)
            if self.ticking is None or self.ticking.done():  # one that has to wait holds up nothing but the next one
                self.ticking = asyncio.ensure_future(self.world.lifecycle.tick())
            await settle()
            for engine_id in sorted(self.host.immortal):
                self.host.finish_off(engine_id)
            await settle()

    @rule()
    def catalog_dies_and_comes_back(self):
        for task in (*self.calls, *([self.ticking] if self.ticking else [])):
            task.cancel()
        self.run(self.world.rebirth)

    @invariant()
    def nothing_went_wrong(self):
        assert self.wrongs == []

    @invariant()
    def no_model_has_an_engine_too_many(self):
        for name, model in self.world.models.items():
            fleet = self.world.lifecycle.fleet(name)
            assert len([engine for engine in fleet.up if not engine.is_found]) <= model.replicas
            assert len(fleet.ready) <= model.replicas

    def teardown(self):
        """Nobody asks for anything, everything works, and time passes."""
        self.host.refusals.clear()
        self.host.unloadable.clear()
        for name in SIZES:
            self.host.release(name)
        self.run(settle)
        for _ in range(3):
            for engine in self.host.alive():
                if engine.hung:
                    engine.crash()
                engine.work(0)
                engine.memory = min(engine.memory, engine.spec.memory_bytes)
            self.run(self._pass_time, 12)
        self.check_calm()
        self.run(self.world.lifecycle.stop)
        assert self.host.alive() == []
        self.runner.close()

    def check_calm(self):
        world, lifecycle = self.world, self.world.lifecycle
        memory = lifecycle.memory()
        fleets = {name: lifecycle.fleet(name) for name in SIZES}
        assert self.wrongs == []
        assert all(call.done() for call in self.calls)
        outcomes = [call.exception() or call.result() for call in self.calls if not call.cancelled()]
        assert all(outcome is None or isinstance(outcome, DOCUMENTED) for outcome in outcomes)

        known = {engine.engine_id for fleet in fleets.values() for engine in fleet.engines}
        assert {engine.spec.engine_id for engine in self.host.alive()} == known, "a process that nobody knows, or none"
        for name, fleet in fleets.items():
            assert all(engine.is_ready for engine in fleet.engines)
            assert not fleet.engines or name in world.models
            assert not fleet.is_expired
            for engine in fleet.ready:
                assert engine.wanted.load_key == world.models[name].load_key, "an engine of something that is no more"
        for engine in self.host.alive():
            assert not engine.retired
            options = world.models[engine.spec.model.model_id].options
            assert engine.options.max_concurrent_requests == options.max_concurrent_requests

        pinned = {name for name, model in world.models.items() if model.is_pinned}
        nodes = {"": memory.budget} if self.host.cluster is None else self.host.cluster
        engines = [(name, engine) for name, fleet in fleets.items() for engine in fleet.engines]
        held = {node: sum(its.reserved for name, its in engines if its.node == node and name in pinned) for node in nodes}
        for node, its_memory in nodes.items():
            reserved = sum(its.reserved for _, its in engines if its.node == node)
            assert reserved <= max(its_memory, held[node]), "too much memory, and somebody could have gone"
        for name in pinned:
            fleet = fleets[name]
            if not fleet.ready and not fleet.unloaded and fleet.failed_for is None:
                need = need_of(world.models[name].model, world.models[name].options, "cpu")
                assert all(held[node] + need.least > nodes[node] for node in nodes), f"{name} is pinned, and out"
                assert fleet.reason


Anything.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
test_anything_in_any_order = Anything.TestCase
