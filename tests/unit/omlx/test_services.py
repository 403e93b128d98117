"""The ingress' services: who is found without asking the catalog, and which engine gets a job."""

import asyncio
import logging
from dataclasses import replace
from uuid import uuid4

import pytest

from actors.contracts import (
    EmbedJob,
    EngineInfo,
    EngineOptions,
    EngineSpec,
    Job,
    RerankJob,
    Route,
    Scores,
    TextPrompt,
    Vectors,
)
from actors.control import EngineStatus, LifeEvent, RoutingTable
from actors.errors import EngineError, InvalidJobError, ModelNotFoundError
from omlx.record import RequestRecord
from omlx.request_log import RequestLog, current_request
from omlx.services import Services
from scheduler.stats import SchedulerStats
from tests.fakes.catalog import FakeCatalog, served
from tests.fakes.engines import settle
from tests.fakes.host import LocalHost

ECHO = served("echo", name="parrot")
LONG = "said again and again " * 40


def job(text="la", **options):
    return Job(uuid4().hex, TextPrompt(text), **options)


class World:
    """Services over a catalog and engines of this process."""

    def __init__(self):
        self.catalog = FakeCatalog([ECHO])
        self.host = LocalHost()
        self.looked_at = []
        self.current = True
        self.services = Services(self.catalog, self.host, self._is_current)

    def _is_current(self, model):
        self.looked_at.append(model.model_id)
        return self.current

    async def start(self, *engine_ids):
        """Start engines; the model's answers are the prompts said back."""
        for engine_id in engine_ids:
            await self.host.start(EngineSpec(engine_id, ECHO.model, EngineOptions(max_concurrent_requests=8)))

    async def publish(self, *engine_ids, model=ECHO, state="ready", events=(), **status):
        """Have the services know a table with engines."""
        engines = tuple(EngineStatus(model.model_id, engine_id, state, **status) for engine_id in engine_ids)
        routes = {model.model_id: tuple(Route(model.model_id, engine_id) for engine_id in engine_ids)}
        self.catalog.publish(RoutingTable(self.catalog.table.revision + 1, routes, engines, {model.model_id: model}, events))
        while self.services._table is not self.catalog.table:  # noqa: ASYNC110 - it is the watcher that is waited for
            await asyncio.sleep(0)

    async def said(self, text="la", **options):
        """What the model answers."""
        answer = await self.services.submit(ECHO, job(text, **options))
        return "".join([delta.text async for delta in answer])

    def read_with(self, embed):
        """Have engines embed by a coroutine function of an engine's id and a job; scores are how many tokens that says."""
        connect = self.host.connect

        async def connected(engine_id):
            client = await connect(engine_id)

            async def rerank(job):
                tokens = (await embed(engine_id, job)).prompt_tokens
                return Scores((1.0,) * len(job.documents), tokens)

            client.embed = lambda job: embed(engine_id, job)
            client.rerank = rerank
            return client

        self.host.connect = connected

    def streams(self):
        """Engines that the services have a stream from."""
        return sorted(self.services._connections)


def run(test):
    async def whole():
        world = World()
        await world.services.start()
        try:
            return await test(world)
        finally:
            await world.services.stop()
            await world.host.stop()

    return asyncio.run(asyncio.wait_for(whole(), 30))


def test_what_the_table_knows_is_found_without_the_catalog_as_long_as_its_folder_is_the_same():
    async def test(world):
        await world.publish()
        for name in ("echo", "parrot"):
            assert await world.services.find(name) is ECHO
        assert world.looked_at == ["echo", "echo"]
        assert world.catalog.calls == []
        world.current = False
        changed = world.catalog.models["echo"] = served("echo", name="parrot", is_hidden=True)
        assert await world.services.find("parrot") is changed

    run(test)


def test_what_the_table_does_not_know_the_catalog_may():
    async def test(world):
        assert await world.services.find("echo") is ECHO  # before the first table
        new = world.catalog.models["new"] = served("new", is_default=True)
        await world.publish()
        assert await world.services.find("new") is new
        assert await world.services.find("") is new
        with pytest.raises(ModelNotFoundError):
            await world.services.find("other")

    run(test)


def test_a_job_goes_to_the_engine_of_the_table():
    async def test(world):
        await world.start("echo-9")
        await world.publish("echo-9")
        assert await world.said("hello") == "hello"
        assert world.catalog.calls == []

    run(test)


def test_a_model_without_an_engine_costs_a_call():
    async def test(world):
        await world.start("echo-1")  # the one that the catalog will give
        await world.publish()
        assert await world.said("hello") == "hello"
        assert ("route", "echo", None) in world.catalog.calls

    run(test)


def test_an_engine_of_what_the_folder_was_before_is_not_used():
    async def test(world):
        await world.start("old", "echo-1")
        await world.publish("old", model=replace(ECHO, model=replace(ECHO.model, revision="r0")))
        assert await world.said("hello") == "hello"
        assert world.streams() == ["echo-1"]

    run(test)


def test_an_engine_that_is_dead_is_told_of_and_the_next_one_tried():
    async def test(world):
        await world.start("echo-1")
        await world.publish("dead")
        assert await world.said("hello") == "hello"
        assert ("route", "echo", "dead") in world.catalog.calls

    run(test)


def test_a_job_is_given_up_when_no_engine_takes_it():
    async def test(world):
        await world.publish("dead")
        with pytest.raises(EngineError):
            await world.said()
        assert [call for call in world.catalog.calls if call[0] == "route"] == [
            ("route", "echo", "dead"),
            ("route", "echo", "echo-1"),
        ]

    run(test)


def test_tokens_are_counted_by_an_engine_of_the_table_or_by_the_next_one():
    async def test(world):
        await world.start("echo-1", "echo-9")
        await world.publish("echo-9")
        assert await world.services.count(ECHO, job("Hé")) == 3
        await world.publish("gone")
        assert await world.services.count(ECHO, job("Hé")) == 3
        assert [call for call in world.catalog.calls if call[0] == "route"] == [("route", "echo", "gone")]
        assert world.services.engine_stats()["echo"].steps == 0

    run(test)


EMBED = EmbedJob("embd-1", (TextPrompt("la"),))
RERANK = RerankJob("rerank-1", "la", ("a", "b"))
VECTORS = Vectors(bytes(4), 1, 2)


def test_vectors_and_scores_come_from_the_engine_of_the_table_and_its_numbers_are_seen():
    async def test(world):
        asked = []

        async def embed(engine_id, job):
            asked.append((engine_id, job))
            return VECTORS

        world.read_with(embed)
        await world.start("echo-9")
        await world.publish("echo-9")
        assert await world.services.embed(ECHO, EMBED) is VECTORS
        assert await world.services.rerank(ECHO, RERANK) == Scores((1.0, 1.0), 2)
        assert asked == [("echo-9", EMBED), ("echo-9", RERANK)]
        assert world.catalog.calls == []
        assert set(world.services.engine_stats()) == {"echo"}
        assert world.streams() == ["echo-9"]

    run(test)


@pytest.mark.parametrize("what", ["dead", "takes no more"])
def test_vectors_come_from_the_next_engine_when_one_is_dead_or_takes_no_more(what):
    async def test(world):
        async def embed(engine_id, _job):
            if engine_id != "echo-1":
                raise EngineError("echo", what)
            return VECTORS

        world.read_with(embed)
        await world.start("echo-1", *(["gone"] if what == "takes no more" else []))
        await world.publish("gone")
        assert await world.services.embed(ECHO, EMBED) is VECTORS
        assert [call for call in world.catalog.calls if call[0] == "route"] == [("route", "echo", "gone")]

    run(test)


def test_vectors_are_given_up_when_no_engine_makes_them():
    async def test(world):
        tried = []

        async def embed(engine_id, _job):
            tried.append(engine_id)
            raise EngineError("echo", "killed")

        world.read_with(embed)
        await world.start("echo-0", "echo-1", "echo-2")
        await world.publish("echo-0")
        with pytest.raises(EngineError):
            await world.services.embed(ECHO, EMBED)
        assert tried == ["echo-0", "echo-1", "echo-2"]

    run(test)


def test_what_is_wrong_with_a_job_is_not_tried_again():
    async def test(world):
        async def embed(_engine_id, _job):
            raise InvalidJobError("Too long.", "input")

        world.read_with(embed)
        await world.start("echo-9")
        await world.publish("echo-9")
        with pytest.raises(InvalidJobError):
            await world.services.rerank(ECHO, RERANK)
        assert world.catalog.calls == []

    run(test)


def test_vectors_that_are_being_made_are_load_and_nobody_s_once_they_are_called_off():
    async def test(world):
        called_off = []

        async def embed(engine_id, _job):
            try:
                await asyncio.Event().wait()
            finally:
                called_off.append(engine_id)

        world.read_with(embed)
        await world.start("a", "b")
        await world.publish("a", "b")
        tasks = [asyncio.create_task(world.services.embed(ECHO, EMBED)) for _ in range(8)]
        await settle()
        assert [world.services._load(engine_id) for engine_id in ("a", "b")] == [4, 4]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert sorted(called_off) == ["a"] * 4 + ["b"] * 4
        assert [world.services._load(engine_id) for engine_id in ("a", "b")] == [0, 0]

    run(test)


def test_a_burst_is_spread_over_a_models_engines_before_any_has_answered():
    async def test(world):
        await world.start("a", "b")
        await world.publish("a", "b")
        answers = await asyncio.gather(*(world.services.submit(ECHO, job(str(number) * 300)) for number in range(8)))
        assert {engine_id: world.services._load(engine_id) for engine_id in ("a", "b")} == {"a": 4, "b": 4}
        for answer in answers:
            await answer.close()

    run(test)


def test_a_prompt_goes_where_its_beginning_went():
    async def test(world):
        await world.start("a", "b")
        await world.publish("a", "b")
        first = await world.services.submit(ECHO, job(LONG, max_tokens=1))
        (one,) = world.streams()
        async for _ in first:
            pass
        for more in ("and", "and again", "and once more"):
            assert await world.said(LONG + more, max_tokens=2) == LONG[:2]
        assert world.streams() == [one]

    run(test)


def test_the_numbers_of_a_models_engines_are_shown_together():
    async def test(world):
        await world.start("a", "b")
        await world.publish("a", "b")
        await asyncio.gather(*(world.said(str(number) * 300, max_tokens=1) for number in range(2)))
        for connection, waiting in zip(world.services._open_connections(), (1, 2), strict=True):
            connection.stats = SchedulerStats(running=3, waiting=waiting, prefix_hits=10)
        assert world.services.engine_stats() == {"echo": SchedulerStats(running=6, waiting=3, prefix_hits=20)}
        assert world.services._load("a") + world.services._load("b") == 9  # as the engines counted

    run(test)


def test_an_engine_s_stream_belongs_to_no_request_not_even_to_the_one_that_opened_it():
    heard = []

    async def test(world):
        connect = world.host.connect

        async def watched(engine_id):
            client = await connect(engine_id)
            stream = client.stream

            async def items(consumer):
                async for item in stream(consumer):
                    heard.append(("stream", current_request()))
                    yield item

            client.stream = items
            return client

        world.host.connect = watched
        await world.start("a")
        await world.publish("a")
        RequestLog().began(RequestRecord("req_1", "POST", 0.0, 0.0))
        await world.said()
        heard.append(("request", current_request()))

    run(test)
    assert {*heard} == {("stream", ""), ("request", "req_1")}


def test_health_shows_every_engine_of_a_model():
    async def test(world):
        await world.publish("a", "b", state="waiting", restarts=2)
        shown = {"state": "waiting", "restarts": 2}
        assert world.services.health() == {"engines": {"echo": [{"engine_id": "a", **shown}, {"engine_id": "b", **shown}]}}

    run(test)


def test_what_becomes_of_engines_is_logged(caplog):
    info = EngineInfo("a", "echo", 4711, "cpu", 128, 1.5, ("It is slow.",))

    async def test(world):
        await world.publish("a", state="loading")
        await world.publish("a", info=info)
        await world.publish("a", info=info)
        await world.publish("a", state="waiting", reason="killed")
        await world.publish("b", state="loading", restarts=1)
        await world.publish("b", state="failed", reason="no memory")
        await world.publish()

    with caplog.at_level(logging.INFO):
        run(test)
    assert [record.message for record in caplog.records if record.name == "omlx.services"] == [
        "loading echo",
        "echo is ready: process 4711, cpu, loaded in 1.5 s",
        "echo: It is slow.",
        "the engine of echo ended and will be started again: killed",
        "the engine of echo ended and is being started again (1)",
        "echo could not be loaded: no memory",
        "echo is unloaded",
    ]


class Observer:
    """Keeps what it is told."""

    def __init__(self):
        self.steps, self.events = [], []

    def stepped(self, model_id, before, after):
        self.steps.append((model_id, after.steps - before.steps))

    def happened(self, event):
        self.events.append(event)


def test_steps_and_what_becomes_of_engines_are_passed_on():
    async def test(world):
        observer = Observer()
        world.services.observe(observer)
        event = LifeEvent("echo", "load", "success", 1.0)
        await world.start("a")
        await world.publish("a", events=(event,))
        assert observer.events == [event]
        assert await world.said("la") == "la"
        (connection,) = world.services._open_connections()
        assert {model_id for model_id, _ in observer.steps} == {"echo"}
        assert sum(steps for _, steps in observer.steps) == connection.stats.steps > 0

    run(test)
