"""A loaded model is removed under a server, over HTTP and behind its back. Everything is in this process, but for the disk."""

import asyncio
import json
import shutil

import pytest

from actors.catalog.catalog import Catalog
from actors.control import CatalogConfig
from actors.folder_lock import alone
from omlx.app import create_app
from omlx.removal import is_in_use, remove_model
from omlx.services import Services
from tests.fakes.host import LocalHost
from tests.fakes.http import Call
from tests.fakes.model import write_model

CHAT = {"model": "echo", "messages": [{"role": "user", "content": "hello"}]}
LONG = {"model": "endless", "messages": [{"role": "user", "content": "la "}], "max_tokens": 150, "stream": True}


@pytest.fixture
def models(tmp_path):
    for model_id in ("echo", "endless"):
        write_model(tmp_path / "models", model_id)
    return tmp_path / "models"


def serving(models, test):
    """Runs a test's coroutine function, which gets the server, a function that asks it, and the host of its engines."""

    async def run():
        host = LocalHost()
        catalog = Catalog(CatalogConfig((models,)), host)
        await catalog.start()
        services = Services(catalog, host)
        await services.start()
        app = create_app(services, roots=[models])

        async def ask(method, path, body=None):
            call = Call(app, method, path, [json.dumps(body).encode() if body else b""])
            return await call.run()

        try:
            await test(app, ask, host)
        finally:
            await services.stop()
            await catalog.stop()
            await host.stop()

    asyncio.run(asyncio.wait_for(run(), 60))


async def names(ask):
    return [model["id"] for model in (await ask("GET", "/v1/models")).json["data"]]


def test_a_loaded_model_goes_with_force_alone_and_comes_back_with_its_folder(models):
    async def test(_app, ask, host):
        assert (await ask("POST", "/v1/chat/completions", CHAT)).status == 200
        assert (await ask("DELETE", "/admin/api/models/echo")).status == 409
        assert await names(ask) == ["echo", "endless"]
        assert (await ask("DELETE", "/admin/api/models/echo?force=true")).status == 200
        assert await names(ask) == ["endless"]
        assert await host.running() == []
        assert [each.name for each in models.iterdir()] == ["endless"]
        assert (await ask("POST", "/v1/chat/completions", CHAT)).status == 404
        write_model(models, "echo")
        assert (await ask("POST", "/v1/chat/completions", CHAT)).status == 200

    serving(models, test)


@pytest.mark.parametrize(
    "takes_away", [lambda folder, root: remove_model(folder, [root], force=True), lambda folder, _: shutil.rmtree(folder)]
)
def test_a_server_gets_over_a_model_that_vanishes_while_it_answers(models, takes_away):
    async def test(app, ask, host):
        call = Call(app, "POST", "/v1/chat/completions", [json.dumps(LONG).encode()])
        long = asyncio.create_task(call.run())
        await call.wait_for(b'"content":"l')
        ((spec, _),) = await host.running()
        takes_away(models / "endless", models)
        assert await names(ask) == ["echo"]
        assert (await ask("POST", "/v1/chat/completions", CHAT | {"model": "endless"})).status == 404
        assert b'"finish_reason":"length"' in (await long).body  # what was under way is finished
        await host.ended(spec.engine_id)
        assert (await ask("POST", "/v1/chat/completions", CHAT)).status == 200

    serving(models, test)


def test_an_unloaded_model_is_free(models):
    async def test(_app, ask, _host):
        await ask("POST", "/v1/chat/completions", CHAT)
        assert is_in_use(models / "echo")
        await ask("POST", "/v1/models/echo/unload")
        with alone(models / "echo") as free:
            assert free
        assert (await ask("DELETE", "/admin/api/models/echo")).status == 200

    serving(models, test)
