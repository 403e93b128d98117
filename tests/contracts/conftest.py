"""Two worlds that keep the same promises: everything in this process, and everything behind Ray."""

import asyncio
import os
import signal
from dataclasses import dataclass
from typing import Any

import pytest

from actors.catalog.catalog import Catalog
from actors.control import CatalogConfig
from tests.conftest import ENGINE_SETTINGS
from tests.fakes.host import LocalHost


@dataclass
class World:
    """What the suite runs against.

    Attributes:
        host: An `EngineHost`.
        catalog: A `CatalogClient` over models that `tests.fakes.model.echo_backend` loads.
        kill: Ends an engine as SIGKILL does, given its client.
    """

    name: str
    host: Any
    catalog: Any
    kill: Any


@pytest.fixture(params=["local", pytest.param("ray", marks=pytest.mark.ray)])
def run(request, model_dir):
    """Runs a test's coroutine function in a world."""
    if request.param == "ray":
        runtime = request.getfixturevalue("ray_runtime")

        async def kill(client):
            os.kill((await client.load()).pid, signal.SIGKILL)

        world = World("ray", runtime.engines(), runtime.catalog(), kill)
        return lambda test: asyncio.run(asyncio.wait_for(test(world), 60))

    async def in_this_process(test):
        host = LocalHost()
        catalog = Catalog(CatalogConfig((model_dir,), overrides=ENGINE_SETTINGS), host)

        async def kill(client):
            await host.kill((await client.load()).engine_id)

        await catalog.start()
        try:
            await test(World("local", host, catalog, kill))
        finally:
            await catalog.stop()
            await host.stop()

    return lambda test: asyncio.run(asyncio.wait_for(in_this_process(test), 60))
