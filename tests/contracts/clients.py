"""Engines for a test, and what one reads of their streams."""

from contextlib import aclosing, asynccontextmanager
from uuid import uuid4

from actors.contracts import EngineOptions, EngineSpec, StepItem
from tests.fakes.model import ECHO_BACKEND, model_info


@asynccontextmanager
async def engine(world, model_id="echo", batch=3, queue=100, **model):
    """A client of an engine that lives as long as the test."""
    options = EngineOptions(batch, queue)
    info = model_info(model_id, **model)
    spec = EngineSpec(f"{model_id}-{uuid4().hex[:6]}", info, options, ECHO_BACKEND, memory_bytes=10_000_000)
    client = await world.host.start(spec)
    try:
        yield client
    finally:
        await world.host.kill(spec.engine_id)


@asynccontextmanager
async def reading(client, consumer="ingress"):
    """The deltas of a consumer's stream, once it is open."""
    async with aclosing(client.stream(consumer)) as items:
        assert StepItem.decode(await anext(items)).deltas == ()

        async def deltas():
            async for item in items:
                for delta in StepItem.decode(item).deltas:
                    yield delta

        yield deltas()
