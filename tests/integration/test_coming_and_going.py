"""Clients that come, go and drop leave nothing: no queue, no answer, no row, no task. Everything is in this process, to be seen."""

import asyncio
import json
from contextlib import suppress
from random import Random

from actors.catalog.catalog import Catalog
from actors.control import CatalogConfig
from omlx.app import create_app
from omlx.services import Services
from tests.fakes.host import LocalHost
from tests.fakes.http import Call
from tests.fakes.model import echo_backend

BATCH, QUEUE, CLIENTS = 3, 6, 150


def body(**changes):
    asked = {"model": "endless", "messages": [{"role": "user", "content": "la la la"}], "max_tokens": 12}
    return json.dumps(asked | changes).encode()


async def come_and_go(app, number):
    """One client: who stays, who leaves before anything came, who leaves in the middle, who is limited, who talks nonsense."""
    random = Random(number)  # noqa: S311 - the same wishes each time
    await asyncio.sleep(random.uniform(0, 1.5))
    stream = random.random() < 0.6
    wish = random.choice(["stays", "leaves at once", "leaves later", "choices", "limited", "stopped", "nonsense"])
    changes = {
        "choices": {"n": 3},
        "limited": {"timeout": random.uniform(0.001, 0.1), "max_tokens": 4000},
        "stopped": {"stop": ["a l"]},
        "nonsense": {"messages": []},
    }.get(wish, {})
    call = Call(app, "POST", "/v1/chat/completions", [body(stream=stream, **changes)])
    answer = asyncio.create_task(call.run())
    if wish == "leaves at once":
        for _ in range(random.randint(0, 6)):
            await asyncio.sleep(0)
        call.leave()
    elif wish == "leaves later":
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(answer), random.uniform(0, 0.1))
        call.leave()
    await answer
    return call.status if call.sent else None


async def settled(condition):
    """Return once it is so."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came to rest")


def test_nothing_is_left_of_clients_that_have_left(model_dir):
    backends = []

    def load(model, options):
        backends.append(echo_backend(model, options))
        return backends[-1]

    async def test():
        host = LocalHost(load)
        bounds = {"max_concurrent_requests": BATCH, "max_queued_requests": QUEUE}
        catalog = Catalog(CatalogConfig((model_dir,), overrides=bounds), host)
        await catalog.start()
        services = Services(catalog, host)
        await services.start()
        app = create_app(services)
        try:
            await Call(app, "POST", "/v1/chat/completions", [body()]).run()
            (connection,) = services._open_connections()
            (local,) = host._engines.values()
            engine = local.engine
            before = len(asyncio.all_tasks())
            statuses = await asyncio.gather(*(come_and_go(app, number) for number in range(CLIENTS)))
            assert {200, 400, 429, 504, 499} <= set(statuses) <= {200, 400, 429, 504, 499, None}
            (backend,) = backends
            await settled(lambda: not (connection._aborts or connection.stats.running or connection.stats.waiting))
            await settled(lambda: not backend.runner.rows)  # the step after the last one forgets them
            assert (await engine.usage()).in_flight == 0
            assert engine._arriving == {}
            assert connection._queues == {}
            assert (engine._answers, engine._choices) == ({}, {})
            (outbox,) = engine._outboxes.values()
            assert outbox._deltas == []
            assert len(asyncio.all_tasks()) == before
        finally:
            await services.stop()
            await catalog.stop()
            await host.stop()

    asyncio.run(asyncio.wait_for(test(), 60))
