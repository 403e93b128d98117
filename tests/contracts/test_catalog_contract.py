"""What every catalog behind a `CatalogClient` does, and the ingress' services on top of it."""

import asyncio
from uuid import uuid4

import pytest

from actors.contracts import Job, TextPrompt
from actors.errors import EngineError, InvalidSettingError, ModelLoadError, ModelNotFoundError, StaleRevisionError
from omlx.services import Services
from tests.fakes.model import MODELS


def job(text, **options):
    return Job(uuid4().hex, TextPrompt(text), **options)


async def submit(services, name, job):
    return await services.submit(await services.find(name), job)


async def models_that_run(world):
    return {spec.model.model_id for spec, _ in await world.host.running()}


async def options_of(world, route):
    return next(spec.options for spec, _ in await world.host.running() if spec.engine_id == route.engine_id)


async def until(world, condition):
    """The first routing table of which something is true."""
    table = await world.catalog.watch(0)
    while not condition(table):
        table = await world.catalog.watch(table.revision)
    return table


async def text_of(answer):
    return "".join([delta.text async for delta in answer])


def test_models_on_disk_are_listed_by_id(run):
    async def test(world):
        assert [served.model_id for served in await world.catalog.served()] == list(MODELS)

    run(test)


def test_ten_callers_cause_one_load(run):
    async def test(world):
        routes = await asyncio.gather(*(world.catalog.route("echo") for _ in range(10)))
        assert len(set(routes)) == 1
        engines = [spec.engine_id for spec, _ in await world.host.running() if spec.model.model_id == "echo"]
        assert engines == [routes[0].engine_id]

    run(test)


def test_unknown_and_broken_models_are_refused_with_their_own_error(run):
    async def test(world):
        with pytest.raises(ModelNotFoundError) as caught:
            await world.catalog.route("nonsense")
        assert caught.value.available == MODELS
        for load in (
            world.catalog.route,
            world.catalog.route,
            world.catalog.load,
        ):  # the first is remembered, the last tries again
            with pytest.raises(ModelLoadError, match="no known kind"):
                await load("unloadable")
        assert "unloadable" not in {spec.model.model_id for spec, _ in await world.host.running()}

    run(test)


def test_a_watcher_is_told_of_a_load_and_of_a_death(run):
    async def test(world):
        route = await world.catalog.route("echo")
        table = await world.catalog.watch(0)
        assert table.routes["echo"] == (route,)
        assert table.served["echo"].name == "echo"
        await world.kill(await world.host.connect(route.engine_id))
        while (table := await world.catalog.watch(table.revision)).routes.get("echo", (route,)) == (route,):
            pass
        assert table.routes["echo"][0].engine_id != route.engine_id  # it was started again unasked
        (status,) = [engine for engine in table.engines if engine.model_id == "echo" and engine.state == "ready"]
        assert status.restarts >= 1

    run(test)


def test_an_engine_that_a_caller_found_dead_is_not_given_again(run):
    async def test(world):
        first = await world.catalog.route("echo")
        second = await world.catalog.route("echo", gone=first.engine_id)
        assert second.engine_id != first.engine_id
        assert await world.catalog.route("echo", gone=first.engine_id) == second

    run(test)


def test_models_are_loaded_and_unloaded_by_hand(run):
    async def test(world):
        await world.catalog.load("drifting")
        assert "drifting" in await models_that_run(world)
        for cancel in (False, True):
            await world.catalog.route("drifting")
            await world.catalog.unload("drifting", cancel=cancel)
            assert "drifting" not in await models_that_run(world)

    run(test)


def test_unloading_waits_for_requests_or_ends_them(run):
    async def test(world):
        services = Services(world.catalog, world.host)
        await services.start()
        try:
            answer = await submit(services, "endless", job("la", max_tokens=60))
            unloading = asyncio.create_task(world.catalog.unload("endless"))
            assert len(await text_of(answer)) > 50
            await unloading
            answer = await submit(services, "endless", job("la"))
            await world.catalog.unload("endless", cancel=True)
            with pytest.raises(EngineError):
                await text_of(answer)
        finally:
            await services.stop()

    run(test)


def test_the_status_says_what_is_loaded_and_what_it_takes(run):
    async def test(world):
        await world.catalog.load("echo")
        status = await world.catalog.status()
        models = {model.served.model_id: model for model in status.models}
        assert list(models) == list(MODELS)
        echo = models["echo"]
        assert (echo.state, echo.engines[0].info.model_id) == ("ready", "echo")
        assert echo.estimated_bytes > 0
        assert 0 < echo.memory_bytes <= status.memory.used
        assert 0 < status.memory.reserved <= status.memory.budget
        assert await world.catalog.refresh()

    run(test)


def test_settings_hold_at_once_and_are_refused_when_stale(run):
    async def test(world):
        await world.catalog.load("echo")
        before = await world.catalog.settings("echo")
        try:
            changes = {"model_alias": "parrot", "max_concurrent_requests": 2, "is_default": True}
            view = await world.catalog.change_settings("echo", changes, before.revision)
            assert view.values == changes
            for name in ("parrot", "echo", ""):
                assert (await world.catalog.find(name)).model_id == "echo"
            with pytest.raises(StaleRevisionError):
                await world.catalog.change_settings("parrot", {"temperature": 1}, before.revision)
            with pytest.raises(InvalidSettingError, match="'echo'"):
                await world.catalog.change_settings("endless", {"model_alias": "parrot"}, None)
            route = await world.catalog.route("parrot")
            while (await options_of(world, route)).max_concurrent_requests != 2:
                pass
        finally:
            await world.catalog.change_settings("echo", dict.fromkeys(changes), None)
        assert await world.catalog.settings("echo") == before

    run(test)


def test_a_change_that_takes_a_reload_brings_another_engine_without_ending_a_request(run):
    async def test(world):
        services = Services(world.catalog, world.host)
        await services.start()
        try:
            answer = await submit(services, "endless", job("la", max_tokens=60))
            route = await world.catalog.route("endless")
            await world.catalog.change_settings("endless", {"trust_remote_code": True}, None)
            again = await world.catalog.route("endless")
            assert again != route
            assert (await options_of(world, again)).trust_remote_code
            assert len(await text_of(answer)) > 50
        finally:
            await world.catalog.change_settings("endless", {"trust_remote_code": None}, None)
            await services.stop()

    run(test)


def test_replicas_are_started_and_ended_as_the_setting_says(run):
    async def test(world):
        await world.catalog.route("drifting")
        try:
            await world.catalog.change_settings("drifting", {"replicas": 2}, None)
            await until(world, lambda table: len(table.routes.get("drifting", ())) == 2)
        finally:
            await world.catalog.change_settings("drifting", {"replicas": None}, None)
        await until(world, lambda table: len(table.routes.get("drifting", ())) == 1)
        await world.catalog.unload("drifting")

    run(test)


def test_services_stream_answers_and_survive_an_engines_death(run):
    async def test(world):
        services = Services(world.catalog, world.host)
        await services.start()
        try:
            assert await text_of(await submit(services, "echo", job("hello"))) == "hello"
            answer = await submit(services, "endless", job("la"))
            deltas = aiter(answer)
            await anext(deltas)
            route = await world.catalog.route("endless")
            await world.kill(await world.host.connect(route.engine_id))
            with pytest.raises(EngineError):
                async for _ in deltas:
                    pass
            assert await text_of(await submit(services, "endless", job("la", max_tokens=4))) == "lala"
        finally:
            await services.stop()

    run(test)


def test_an_answer_that_is_closed_is_out_of_the_batch(run):
    async def test(world):
        services = Services(world.catalog, world.host)
        await services.start()
        try:
            left = [await submit(services, "endless", job("la")) for _ in range(3)]  # as many as the batch holds
            for answer in left:
                await answer.close()
            assert await text_of(await submit(services, "endless", job("lo", max_tokens=2))) == "lo"
        finally:
            await services.stop()

    run(test)
