"""At most one engine a model, through failed starts, hung loads and deaths."""

import asyncio
import threading

import pytest

from actors.catalog.lifecycle import Lifecycle
from actors.contracts import CatalogConfig
from actors.errors import ModelLoadError
from tests.fakes.host import LocalHost
from tests.fakes.model import echo_backend, model_info


class Watched:
    """A lifecycle, and a way to wait for what its routing table shows."""

    def __init__(self, host, **config):
        self.host = host
        self._change = asyncio.Event()
        self.lifecycle = Lifecycle(host, CatalogConfig((), **config), self._change.set)

    async def until(self, condition):
        while not condition():
            self._change.clear()
            await self._change.wait()

    @property
    def status(self):
        (status,) = self.lifecycle.statuses()
        return status


def run(test, host=None, **config):
    async def body():
        watched = Watched(host or LocalHost(), **config)
        try:
            await asyncio.wait_for(test(watched), 20)
        finally:
            await watched.lifecycle.stop()
            await watched.host.stop()

    asyncio.run(body())


def test_a_hung_load_is_killed_and_said():
    release = threading.Event()

    def hang(model):
        release.wait()
        return echo_backend(model)

    async def test(world):
        with pytest.raises(ModelLoadError, match=r"not loaded within 0 s"):
            await world.lifecycle.route(model_info())
        release.set()
        assert world.status.state == "failed"
        await world.host.ended(world.host.started[0].engine_id)
        assert world.lifecycle.routes() == {}

    run(test, LocalHost(hang), load_timeout_seconds=0.2)


def test_a_process_that_cant_be_started_fails_the_load_and_may_be_tried_again():
    class Flaky(LocalHost):
        refusals = 1

        async def start(self, spec):
            if self.refusals:
                self.refusals -= 1
                raise OSError("no more processes")
            return await super().start(spec)

    async def test(world):
        with pytest.raises(ModelLoadError, match="no more processes"):
            await world.lifecycle.route(model_info())
        assert await world.lifecycle.route(model_info()) == world.lifecycle.routes()["echo"]

    run(test, Flaky())


def test_a_caller_that_leaves_doesnt_end_the_load_of_the_others():
    async def test(world):
        first = asyncio.create_task(world.lifecycle.route(model_info()))
        second = asyncio.create_task(world.lifecycle.route(model_info()))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).engine_id == world.host.started[0].engine_id
        assert len(world.host.started) == 1

    run(test)


def test_a_death_is_counted_and_followed_by_a_new_engine():
    async def test(world):
        for deaths in (1, 2):
            route = await world.lifecycle.route(model_info())
            await world.host.kill(route.engine_id)
            await world.until(lambda route=route: world.lifecycle.routes().get("echo", route) != route)
            assert world.status.restarts == deaths

    run(test)


def test_a_new_lifecycle_adopts_the_engines_that_run():
    async def test(world):
        route = await world.lifecycle.route(model_info())
        later = Watched(world.host)
        await later.lifecycle.adopt()
        assert await later.lifecycle.route(model_info()) == route
        assert len(world.host.started) == 1

    run(test)
