"""The control plane: names, settings that hold at once, the disk looked at anew, and what watchers are told."""

import asyncio
import threading
from pathlib import Path

import pytest

from actors.catalog.catalog import Catalog
from actors.catalog.memory import Machine
from actors.control import CatalogConfig
from actors.errors import InsufficientMemoryError, InvalidSettingError, ModelNotFoundError, StaleRevisionError
from actors.models import Inventory, ModelInfo, ModelType, Skipped
from tests.fakes.engines import FakeClock, ScriptedHost, settle

GB = 1_000_000_000


def model(model_id, revision="r1", **fields):
    """A model that takes 1 GB with the KV that `Disk`'s catalogs give it."""
    return ModelInfo(model_id, Path("/models") / model_id, parameters=GB // 8, revision=revision, **fields)


class Disk:
    """What is on disk, as a test says; looks can be made to wait."""

    def __init__(self, *models, skipped=()):
        self.put(*models, skipped=skipped)
        self.looks = 0
        self.refreshes = 0
        self.looked = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    def put(self, *models, skipped=()):
        self.inventory = Inventory({each.model_id: each for each in sorted(models, key=lambda each: each.model_id)}, skipped)

    def scan(self):
        self.looks += 1
        inventory = self.inventory
        self.looked.set()
        self.gate.wait(5)
        return inventory

    def refresh(self):
        self.refreshes += 1
        return self.inventory

    def is_current(self, found):
        return (
            self.inventory.models.get(found.model_id, found).revision == found.revision
            and found.model_id in self.inventory.models
        )


def run(test, *models, base=None, memory=10, overrides=None):
    async def body():
        clock, disk = FakeClock(), Disk(*models)
        host = ScriptedHost(clock)
        overrides_ = {"kv_cache_max_bytes": GB // 10, "max_process_memory": memory * GB} | (overrides or {})
        config = CatalogConfig((), base_path=base, overrides=overrides_)
        catalog = Catalog(config, host, disk=disk, is_current=disk.is_current, machine=Machine("cpu", 100 * GB), clock=clock)
        catalog.clock, catalog.host, catalog.disk = clock, host, disk
        await catalog.start()
        try:
            await asyncio.wait_for(test(catalog), 10)
        finally:
            await catalog.stop()
            await settle()

    asyncio.run(body())


async def table(catalog):
    return await catalog.watch(0)


def test_models_are_found_by_id_and_by_alias_and_the_default_one_without_a_name():
    async def test(catalog):
        await catalog.change_settings("a", {"model_alias": "nice", "is_default": True}, None)
        for name in ("a", "nice", ""):
            assert (await catalog.find(name)).model_id == "a"
            assert (await catalog.route(name)).model_id == "a"
            await catalog.load(name)
        await catalog.unload("nice")
        assert [served.name for served in await catalog.served()] == ["nice", "b"]
        assert (await catalog.settings("nice")).values["model_alias"] == "nice"

    run(test, model("a"), model("b"))


def test_what_is_not_there_is_not_found_and_hidden_models_are_not_named():
    async def test(catalog):
        await catalog.change_settings("b", {"is_hidden": True}, None)
        for work in (catalog.find("x"), catalog.find(""), catalog.route("x"), catalog.unload("x"), catalog.settings("x")):
            with pytest.raises(ModelNotFoundError) as caught:
                await work
            assert caught.value.available == ("a",)
        await catalog.route("b")  # who knows it may ask for it

    run(test, model("a"), model("b"))


def test_new_and_removed_folders_are_noticed_by_the_next_question():
    async def test(catalog):
        catalog.disk.put(model("a"), model("new"))
        assert (await catalog.route("new")).model_id == "new"
        catalog.disk.put(model("a"))
        with pytest.raises(ModelNotFoundError):
            await catalog.route("new")
        await settle()
        assert catalog.host.alive() == []

    run(test, model("a"))


def test_many_questions_share_a_look_but_not_one_that_had_begun_before():
    async def test(catalog):
        catalog.disk.looks = 0
        catalog.disk.looked.clear()
        catalog.disk.gate.clear()
        early = asyncio.create_task(catalog.find("new"))
        await asyncio.to_thread(catalog.disk.looked.wait, 5)
        catalog.disk.put(model("new"))
        late = [asyncio.create_task(catalog.find("new")) for _ in range(10)]
        await settle()
        catalog.disk.gate.set()
        with pytest.raises(ModelNotFoundError):
            await early
        assert {found.model_id for found in await asyncio.gather(*late)} == {"new"}
        assert catalog.disk.looks == 2

    run(test)


def test_a_refresh_reads_everything_anew():
    async def test(catalog):
        catalog.disk.put(model("new"), skipped=(Skipped(Path("/x"), "broken"),))
        status = await catalog.refresh()
        assert [each.served.model_id for each in status.models] == ["new"]
        assert status.skipped == (Skipped(Path("/x"), "broken"),)
        assert catalog.disk.refreshes == 1

    run(test, model("a"))


def test_the_status_says_everything():
    async def test(catalog):
        await catalog.change_settings("a", {"is_pinned": True, "ttl_seconds": 50}, None)
        await settle()
        catalog.host.alive("a")[0].memory = 123
        await catalog.clock.advance(3)
        status = await catalog.status()
        a, b = status.models
        assert (a.state, a.is_pinned, a.memory_bytes, a.ttl_seconds, a.idle_seconds, a.reason) == (
            "ready",
            True,
            123,
            50,
            3,
            None,
        )
        (engine,) = a.engines
        assert (engine.state, engine.ready_seconds, engine.max_concurrent_requests) == ("ready", 3, 8)
        assert a.estimated_bytes == b.estimated_bytes == 900_000_000
        assert (b.state, b.engines, b.memory_bytes, b.idle_seconds) == ("unloaded", (), 0, None)
        assert (status.memory.budget, status.memory.reserved, status.memory.used) == (10 * GB, GB, 123)

    run(test, model("a"), model("b"))


def test_watchers_are_told_of_models_settings_and_engines():
    async def test(catalog):
        first = await table(catalog)
        assert (list(first.served), first.routes) == (["a"], {})
        watching = asyncio.create_task(catalog.watch(first.revision))
        await settle()
        assert not watching.done()
        await catalog.change_settings("a", {"temperature": 0.5}, None)
        second = await watching
        assert second.revision > first.revision
        assert second.served["a"].defaults == {"temperature": 0.5}
        route = await catalog.route("a")
        third = await catalog.watch(second.revision)
        while not third.routes:
            third = await catalog.watch(third.revision)
        assert third.routes == {"a": (route,)}

    run(test, model("a"))


def test_settings_hold_at_once():
    async def test(catalog):
        await catalog.route("a")
        (engine,) = catalog.host.alive("a")
        await catalog.change_settings("a", {"max_concurrent_requests": 3}, None)
        await settle()
        assert engine.options.max_concurrent_requests == 3
        assert (await catalog.status()).models[0].engines[0].max_concurrent_requests == 3
        await catalog.change_settings(None, {"max_queued_requests": 5}, None)
        await settle()
        assert engine.options.max_queued_requests == 5
        await catalog.change_settings("a", {"trust_remote_code": True}, None)
        await settle()
        assert engine.dead.is_set()
        await catalog.route("a")
        assert catalog.host.started[-1].options.trust_remote_code
        await catalog.change_settings("a", {"model_type_override": "vlm"}, None)
        await catalog.route("a")
        assert catalog.host.started[-1].model.type is ModelType.VLM
        await catalog.change_settings("b", {"is_pinned": True, "replicas": 2}, None)
        await settle()
        await catalog.tick()
        assert len(catalog.host.alive("b")) == 2

    run(test, model("a"), model("b"))


def test_the_memory_for_all_models_and_the_time_for_a_load_are_settings():
    async def test(catalog):
        await catalog.change_settings(None, {"max_process_memory": "1%", "load_timeout_seconds": 7}, None)
        await catalog.route("a")
        catalog.host.alive("a")[0].work(1)
        catalog.host.hold("b")
        with pytest.raises(InsufficientMemoryError):
            await catalog.route("b")
        await catalog.change_settings(None, {"max_process_memory": "2%"}, None)
        loading = asyncio.create_task(catalog.route("b"))
        found = await table(catalog)
        while all(engine.model_id != "b" for engine in found.engines):
            found = await catalog.watch(found.revision)
        await settle()
        await catalog.clock.advance(7)
        with pytest.raises(Exception, match="not loaded within 7 s"):
            await loading

    run(test, model("a"), model("b"), overrides={"max_process_memory": None})


def test_settings_that_cant_be_are_refused_and_change_nothing():
    async def test(catalog):
        before = await catalog.settings("a")
        with pytest.raises(InvalidSettingError, match="'b'"):
            await catalog.change_settings("a", {"model_alias": "b"}, None)
        await catalog.change_settings("b", {"model_alias": "taken"}, None)
        with pytest.raises(InvalidSettingError, match="'b'"):
            await catalog.change_settings("a", {"model_alias": "taken"}, None)
        with pytest.raises(InvalidSettingError):
            await catalog.change_settings("a", {"nonsense": 1}, None)
        with pytest.raises(ModelNotFoundError):
            await catalog.change_settings("x", {"is_pinned": True}, None)
        assert await catalog.settings("a") == before
        await catalog.change_settings("a", {"temperature": 1}, before.revision)
        with pytest.raises(StaleRevisionError):
            await catalog.change_settings("a", {"temperature": 0}, before.revision)

    run(test, model("a"), model("b"))


def test_settings_that_others_write_are_noticed(tmp_path):
    async def test(catalog):
        (tmp_path / "model_settings.json").write_text('{"version": 1, "models": {"a": {"is_pinned": true}}}')
        await catalog.tick()
        await settle()
        assert list((await table(catalog)).routes) == ["a"]
        (tmp_path / "model_settings.json").write_text('{"version": 1, "models": {"a": {"model_alias": "other"}}}')
        assert (await catalog.find("other")).model_id == "a"  # without waiting for a tick

    run(test, model("a"), base=tmp_path)


def test_a_folder_that_changes_under_a_loaded_model_is_noticed_and_others_are_not_looked_at():
    async def test(catalog):
        await catalog.route("a")
        (engine,) = catalog.host.alive("a")
        looks = catalog.disk.looks
        catalog.disk.put(model("a"), model("b", "r2"))
        await catalog.tick()
        assert catalog.disk.looks == looks
        catalog.disk.put(model("a", "r2"), model("b", "r2"))
        await catalog.tick()
        await settle()
        assert engine.dead.is_set()
        await catalog.route("a")
        assert catalog.host.started[-1].model.revision == "r2"

    run(test, model("a"), model("b"))


def test_time_is_looked_after_without_being_asked():
    async def test(catalog):
        await catalog.change_settings(None, {"ttl_seconds": 3}, None)
        await catalog.route("a")
        gone = asyncio.create_task(catalog.host.alive("a")[0].closed())
        while not gone.done():
            await catalog.clock.advance(1)
            await asyncio.sleep(0.001)  # the tick asks a thread

    run(test, model("a"))


def test_a_folder_that_is_skipped_is_a_warning_once(caplog):
    async def test(catalog):
        skipped = Skipped(Path("/x"), "broken")
        for inventory in ((skipped,), (skipped, Skipped(Path("/y"), "half")), (Skipped(Path("/x"), "gone"),)):
            catalog.disk.put(skipped=inventory)
            await catalog.served()
            await catalog.served()
        told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert told == ["skipping /x: broken", "skipping /y: half", "skipping /x: gone"]

    run(test)


def test_whoever_watches_hears_of_everything_once():
    async def test(catalog):
        heard, revision = [], 0

        async def watch():
            nonlocal revision
            table = await catalog.watch(revision)
            revision = table.revision
            heard.extend((event.model_id, event.kind, event.result) for event in table.events)

        await catalog.route("a")
        await watch()
        assert heard == [("a", "load", "success")]
        await catalog.change_settings("a", {"temperature": 0.5}, None)
        await watch()
        await catalog.route("b")
        await watch()
        assert heard == [("a", "load", "success"), ("b", "load", "success")]

    run(test, model("a"), model("b"))
