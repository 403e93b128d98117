"""The catalog's process may die at any time: it is back, knows the engines that run, and no stream notices."""

import asyncio
import os
import signal
from uuid import uuid4

import psutil
import pytest

from actors.contracts import Job, TextPrompt
from omlx.services import Services

pytestmark = pytest.mark.ray


def job(**options):
    return Job(uuid4().hex, TextPrompt("la"), **options)


def test_a_killed_catalog_is_back_and_adopts_the_running_engine(ray_runtime):
    async def test():
        catalog = ray_runtime.catalog()
        services = Services(catalog, ray_runtime.engines())
        await services.start()
        try:
            endless = await services.find("endless")
            answer = await services.submit(endless, job(max_tokens=600))
            deltas = aiter(answer)
            await anext(deltas)
            route = await catalog.route("endless")
            killed = await catalog.pid()
            os.kill(killed, signal.SIGKILL)
            again = await catalog.route("endless")  # waits for the new one
            assert await catalog.pid() != killed
            assert again == route
            text = "".join([delta.text async for delta in deltas])
            assert len(text) == 600 - 1
            short = await services.submit(endless, job(max_tokens=4))
            assert "".join([delta.text async for delta in short]) == "lala"
        finally:
            await services.stop()

    asyncio.run(asyncio.wait_for(test(), 60))


def test_processes_say_who_they_are(ray_runtime):
    async def test():
        catalog = ray_runtime.catalog()
        route = await catalog.route("echo")
        engine = await ray_runtime.engines().connect(route.engine_id)
        return await catalog.pid(), (await engine.load()).pid

    catalog_pid, engine_pid = asyncio.run(asyncio.wait_for(test(), 60))
    assert psutil.Process(catalog_pid).cmdline()[0].startswith("ray::omlx catalog")
    assert psutil.Process(engine_pid).cmdline()[0].startswith("ray::omlx engine echo")
