"""What every catalog behind a `CatalogClient` does, and the ingress' services on top of it."""

import asyncio
from uuid import uuid4

import pytest

from actors.contracts import Job, TextPrompt
from actors.errors import EngineError, ModelLoadError, ModelNotFoundError
from omlx.services import Services
from tests.fakes.model import MODELS


def job(text, **options):
    return Job(uuid4().hex, TextPrompt(text), **options)


async def text_of(answer):
    return "".join([delta.text async for delta in answer])


def test_models_on_disk_are_listed_by_id(run):
    async def test(world):
        assert [model.model_id for model in await world.catalog.models()] == list(MODELS)

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
        for _ in range(2):  # a failed load may be tried again
            with pytest.raises(ModelLoadError, match="no known kind"):
                await world.catalog.route("unloadable")
        assert "unloadable" not in {spec.model.model_id for spec, _ in await world.host.running()}

    run(test)


def test_a_watcher_is_told_of_a_load_and_of_a_death(run):
    async def test(world):
        route = await world.catalog.route("echo")
        table = await world.catalog.watch(0)
        assert table.routes["echo"] == route
        await world.kill(await world.host.connect(route.engine_id))
        while (table := await world.catalog.watch(table.revision)).routes.get("echo", route) == route:
            pass
        assert table.routes["echo"].engine_id != route.engine_id  # it was started again unasked
        (status,) = [engine for engine in table.engines if engine.model_id == "echo"]
        assert status.restarts >= 1

    run(test)


def test_an_engine_that_a_caller_found_dead_is_not_given_again(run):
    async def test(world):
        first = await world.catalog.route("echo")
        second = await world.catalog.route("echo", gone=first.engine_id)
        assert second.engine_id != first.engine_id
        assert await world.catalog.route("echo", gone=first.engine_id) == second

    run(test)


def test_services_stream_answers_and_survive_an_engines_death(run):
    async def test(world):
        services = Services(world.catalog, world.host)
        await services.start()
        try:
            assert await text_of(await services.submit("echo", job("hello"))) == "hello"
            answer = await services.submit("endless", job("la"))
            deltas = aiter(answer)
            await anext(deltas)
            route = await world.catalog.route("endless")
            await world.kill(await world.host.connect(route.engine_id))
            with pytest.raises(EngineError):
                async for _ in deltas:
                    pass
            assert await text_of(await services.submit("endless", job("la", max_tokens=4))) == "lala"
        finally:
            await services.stop()

    run(test)


def test_an_answer_that_is_closed_is_out_of_the_batch(run):
    async def test(world):
        services = Services(world.catalog, world.host)
        await services.start()
        try:
            left = [await services.submit("endless", job("la")) for _ in range(3)]  # as many as the batch holds
            for answer in left:
                await answer.close()
            assert await text_of(await services.submit("endless", job("lo", max_tokens=2))) == "lo"
        finally:
            await services.stop()

    run(test)
