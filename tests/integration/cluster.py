"""A Ray cluster of several nodes, one of which is killed. Run as a process of its own by `test_cluster`, which says what is shown."""

import asyncio
import os
import sys
from contextlib import aclosing
from itertools import count
from pathlib import Path

import pytest
import ray
from ray._private.utils import get_ray_address_file
from ray.cluster_utils import Cluster

from actors import runtime
from actors.contracts import EngineSpec, Job, StepItem, TextPrompt
from actors.control import CatalogConfig
from actors.errors import EngineError, InsufficientMemoryError
from actors.logs import LogConfig
from omlx.services import Services
from tests.fakes.model import ECHO_BACKEND, model_info, write_model

MB = 1_000_000
HEAD = 100 * MB  # less than any engine
KV = 100 * MB
ONE = 500 * MB  # what an engine of a model without weights is reckoned to take, with that KV
STORE = 78_643_200  # bytes of each node's object store: the least that Ray takes
NODE = {"object_store_memory": STORE, "include_dashboard": False, "num_cpus": 1}


async def become(wanted, ask):
    """Return once something is so: Ray hears of changes by and by."""
    for _ in range(600):
        if (found := await ask()) == wanted:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"it is still {found}")


async def say(client, number):
    """The text of a short answer."""
    name = f"consumer-{number}"
    async with aclosing(client.stream(name)) as items:
        await anext(items)
        await client.submit(name, Job(str(number), TextPrompt("la"), max_tokens=20))
        text = ""
        async for item in items:
            for delta in StepItem.decode(item).deltas:
                text += delta.text
                if delta.is_last:
                    return text
    raise AssertionError("it was cut off")


async def keep_asking(ask, enough):
    """Ask until told; how many answers came."""
    for number in count(1):
        await ask(number)
        if enough.is_set():
            return number
    return None


async def engines(cluster, logs, _work):
    """Engines stand where they are told to, and a node that is lost takes only its own."""
    nodes = [cluster.add_node(**NODE, memory=ONE) for _ in range(2)]
    host = runtime.RayEngineHost(logs, in_cluster=True)
    left, right = (node.node_id for node in nodes)
    wanted = {cluster.head_node.node_id: HEAD, left: ONE, right: ONE}
    await become(wanted, host.nodes)

    def spec(engine_id, node, memory_bytes=ONE - 50 * MB):
        return EngineSpec(engine_id, model_info("endless"), backend=ECHO_BACKEND, memory_bytes=memory_bytes, node=node)

    async def check(client, number=0):
        assert await say(client, number) == "la" * 10

    lost, kept = await host.start(spec("lost", left)), await host.start(spec("kept", right))
    for client in (lost, kept):
        await check(client)
    assert {spec.engine_id: spec.node for spec, _ in await host.running()} == {"lost": left, "kept": right}

    enough = asyncio.Event()
    answers = asyncio.create_task(keep_asking(lambda number: check(kept, number), enough))
    closed = {name: asyncio.create_task(client.closed()) for name, client in (("lost", lost), ("kept", kept))}
    await asyncio.to_thread(cluster.remove_node, nodes[0], allow_graceful=False)
    async with asyncio.timeout(30):
        await closed["lost"]
    with pytest.raises(EngineError):
        await lost.usage()
    del wanted[left]
    await become(wanted, host.nodes)
    enough.set()
    assert await answers > 1
    assert not closed["kept"].done()
    async with asyncio.timeout(30):
        assert [spec.engine_id for spec, _ in await host.running()] == ["kept"]
        for engine_id in ("lost", "unknown"):
            await host.kill(engine_id)
            with pytest.raises(EngineError):
                await host.connect(engine_id)
        # One whose node is gone ends, and says so.
        with pytest.raises(EngineError):
            await (await host.start(spec("homeless", left))).load()

    # One that its node has no room for waits; whoever looks for engines that are alive ends it.
    waiting = await host.start(spec("waits", right))
    loading = asyncio.create_task(waiting.load())
    runtime._ANSWER_SECONDS = 2
    async with asyncio.timeout(60):
        assert [spec.engine_id for spec, _ in await host.running()] == ["kept"]
        with pytest.raises(EngineError):
            await loading
    await check(kept)
    await host.kill("kept")
    async with asyncio.timeout(30):
        await closed["kept"]


async def models(cluster, logs, work):
    """Of two models on two nodes, one loses its node and comes back on the other node; nobody who asks for the other one notices."""
    first = cluster.add_node(**NODE, memory=ONE + 50 * MB)
    folder = work / "models"
    for model_id in ("echo", "endless", "breaks"):
        write_model(folder, model_id)
    config = CatalogConfig((folder,), overrides={"kv_cache_max_bytes": KV}, backend=ECHO_BACKEND)
    ray_runtime = runtime.RayRuntime(runtime.RuntimeConfig(work, logs, cluster.address), config)
    await asyncio.to_thread(ray_runtime.start)
    host, catalog = ray_runtime.engines(), ray_runtime.catalog()
    services = Services(catalog, host)
    await services.start()

    async def placed():
        return {spec.model.model_id: spec.node for spec, _ in await host.running()}

    async def ask(model_id, number):
        answer = await services.submit(
            await services.find(model_id), Job(f"{model_id}-{number}", TextPrompt("la"), max_tokens=20)
        )
        assert "".join([delta.text async for delta in answer]) == {"echo": "la", "endless": "la" * 10}[model_id]

    try:
        await ask("endless", 0)
        second = cluster.add_node(**NODE, memory=2 * ONE + 50 * MB)
        await become(3, lambda: _count(host))
        await ask("echo", 0)
        assert await placed() == {"endless": first.node_id, "echo": second.node_id}
        assert (await catalog.status()).memory.budget == HEAD + 3 * ONE + 100 * MB

        enough = asyncio.Event()
        answers = asyncio.create_task(keep_asking(lambda number: ask("echo", number), enough))
        gone = await catalog.route("endless")
        closed = asyncio.create_task((await host.connect(gone.engine_id)).closed())
        await asyncio.to_thread(cluster.remove_node, first, allow_graceful=False)
        await closed  # its processes notice by themselves that their node is gone
        await ask("endless", 1)
        assert await placed() == {"endless": second.node_id, "echo": second.node_id}
        assert (await catalog.route("endless")).engine_id != gone.engine_id
        enough.set()
        assert await answers > 1  # none failed

        # The node is full with two; whoever was asked for least lately makes room for a third.
        await become(2, lambda: _count(host))
        await ask("endless", 2)
        await catalog.load("breaks")
        assert set(await placed()) == {"endless", "breaks"}
        await catalog.change_settings("breaks", {"is_pinned": True}, None)
        await catalog.change_settings("endless", {"is_pinned": True}, None)
        with pytest.raises(InsufficientMemoryError):
            await catalog.load("echo")
    finally:
        await services.stop()
        await asyncio.to_thread(ray_runtime.stop)


async def _count(host):
    return len(await host.nodes())


def main():
    shown = {"engines": engines, "models": models}[sys.argv[1]]
    work, ray_files = Path(sys.argv[2]), sys.argv[3]
    os.chdir(work)  # which has no Python files: Ray puts it first on its workers' path
    quick = {"health_check_period_ms": 500, "health_check_initial_delay_ms": 500, "health_check_failure_threshold": 2}
    # It notes its address there, wherever its files are, and takes for granted that the folder is there.
    Path(get_ray_address_file(None)).parent.mkdir(exist_ok=True)
    cluster = Cluster(
        initialize_head=True, head_node_args=NODE | {"memory": HEAD, "_system_config": quick, "temp_dir": ray_files}
    )
    try:
        if shown is engines:
            ray.init(address=cluster.address, namespace="omlx", log_to_driver=False)
        asyncio.run(asyncio.wait_for(shown(cluster, LogConfig(work / "logs"), work), 180))
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main()
