"""Engines on a Ray cluster of several nodes, one of which is killed. Run as a process of its own by `test_cluster`."""

import asyncio
import os
import sys
from contextlib import aclosing
from itertools import count
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from actors import runtime
from actors.contracts import EngineSpec, Job, StepItem, TextPrompt
from actors.errors import EngineError
from actors.logs import LogConfig
from tests.fakes.model import ECHO_BACKEND, model_info

MB = 1_000_000
HEAD, LARGE, SMALL = 100 * MB, 400 * MB, 300 * MB
STORE = 78_643_200  # bytes of each node's object store: the least that Ray takes


def spec(engine_id, memory_bytes):
    return EngineSpec(engine_id, model_info("endless"), backend=ECHO_BACKEND, memory_bytes=memory_bytes)


async def room_becomes(host, wanted):
    """Return once the nodes have so much room: Ray hears of changes by and by."""
    for _ in range(200):
        room = sorted(await host.room())
        if room == sorted(wanted):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"the room is {room}")


async def ask(client, number):
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


async def keep_asking(client, enough):
    """Ask until told; how many answers came."""
    for number in count(1):
        assert await ask(client, number) == "la" * 10
        if enough.is_set():
            return number
    return None


async def test(cluster, nodes, logs):
    host = runtime.RayEngineHost(logs, by_memory=True)
    await room_becomes(host, [HEAD, LARGE, SMALL])
    large = await host.start(spec("large", LARGE - 50 * MB))
    small = await host.start(spec("small", SMALL - 50 * MB))
    for client in (large, small):
        assert await ask(client, 0) == "la" * 10
    await room_becomes(host, [HEAD, 50 * MB, 50 * MB])
    assert {spec.engine_id for spec, _ in await host.running()} == {"large", "small"}

    enough = asyncio.Event()
    answers = asyncio.create_task(keep_asking(small, enough))
    closed = {name: asyncio.create_task(client.closed()) for name, client in (("large", large), ("small", small))}
    await asyncio.to_thread(cluster.remove_node, nodes["large"], allow_graceful=False)
    async with asyncio.timeout(10):
        await closed["large"]
    with pytest.raises(EngineError):
        await large.usage()
    await room_becomes(host, [HEAD, 50 * MB])
    enough.set()
    assert await answers > 1
    assert not closed["small"].done()
    async with asyncio.timeout(10):
        assert [spec.engine_id for spec, _ in await host.running()] == ["small"]
        for engine_id in ("large", "unknown"):
            await host.kill(engine_id)
            with pytest.raises(EngineError):
                await host.connect(engine_id)

    # One that no node has room for waits; whoever looks for engines that are alive ends it.
    homeless = await host.start(spec("homeless", LARGE - 50 * MB))
    loading = asyncio.create_task(homeless.load())
    runtime._ANSWER_SECONDS = 2
    async with asyncio.timeout(20):
        assert [spec.engine_id for spec, _ in await host.running()] == ["small"]
        with pytest.raises(EngineError):
            await loading
    assert await ask(small, 0) == "la" * 10
    await host.kill("small")
    async with asyncio.timeout(10):
        await closed["small"]


def main():
    work, ray_files = Path(sys.argv[1]), sys.argv[2]
    os.chdir(work)  # which has no Python files: Ray puts it first on its workers' path
    common = {"object_store_memory": STORE, "include_dashboard": False, "num_cpus": 1}
    quick = {"health_check_period_ms": 500, "health_check_initial_delay_ms": 500, "health_check_failure_threshold": 2}
    cluster = Cluster(
        initialize_head=True, head_node_args=common | {"memory": HEAD, "_system_config": quick, "temp_dir": ray_files}
    )
    try:
        nodes = {name: cluster.add_node(**common, memory=size) for name, size in (("large", LARGE), ("small", SMALL))}
        ray.init(address=cluster.address, namespace="omlx", log_to_driver=False)
        asyncio.run(asyncio.wait_for(test(cluster, nodes, LogConfig(work / "logs")), 60))
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main()
