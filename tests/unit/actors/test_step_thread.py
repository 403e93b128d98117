"""Whenever the step thread has nothing to do, it looks whether the books balance; an engine whose books don't is ended."""

import asyncio
from contextlib import aclosing
from queue import Queue

import pytest

from actors.contracts import EngineOptions, EngineSpec, Job, StepItem, TextPrompt
from actors.engine.engine import Engine
from actors.errors import EngineError
from scheduler.core import EngineCore
from scheduler.request import Request, Sequence
from tests.fakes.model import echo_backend, model_info


def with_engine(use):
    """Run `use` with an engine in this process, its deltas, and why it broke."""

    async def test():
        broken = asyncio.get_running_loop().create_future()
        engine = Engine(EngineSpec("echo-1", model_info("echo"), EngineOptions(3)), echo_backend, broken.set_result)
        try:
            async with aclosing(engine.stream("ingress")) as items:
                await anext(items)
                await use(engine, items, broken)
        finally:
            await engine.stop()

    asyncio.run(asyncio.wait_for(test(), 30))


async def to_the_end(items, count):
    """Read until so many requests have ended."""
    async for item in items:
        count -= sum(delta.is_last for delta in StepItem.decode(item).deltas)
        if not count:
            return


@pytest.fixture
def looks(monkeypatch):
    """What the core held at each look into its books."""
    held = Queue()
    look = EngineCore.check_integrity

    def watched(core):
        look(core)
        held.put(core.request_ids())

    monkeypatch.setattr(EngineCore, "check_integrity", watched)
    return held


def test_the_books_are_looked_at_when_idle_and_only_then(looks):
    async def use(engine, items, _broken):
        for name in ("a", "b"):
            await engine.submit("ingress", Job(name, TextPrompt("some words")))
            assert await asyncio.to_thread(looks.get, timeout=10) == ()
        await to_the_end(items, 2)
        assert looks.empty()
        await engine.submit("ingress", Job("c", TextPrompt("more words")))
        await engine.abort(["c"])
        assert await asyncio.to_thread(looks.get, timeout=10) == ()

    with_engine(use)


def test_books_that_dont_balance_end_the_engine(monkeypatch, caplog):
    look = EngineCore.check_integrity

    def lose_one_and_look(core):
        core._scheduler._sequences["lost"] = Sequence(Request("lost", (1,), 1), arrived=0.0)
        look(core)

    monkeypatch.setattr(EngineCore, "check_integrity", lose_one_and_look)

    async def use(engine, items, broken):
        await engine.submit("ingress", Job("a", TextPrompt("whole")))
        await to_the_end(items, 1)  # the answer is there; what comes next could not be trusted
        assert "a sequence is lost" in await broken
        assert [item async for item in items if StepItem.decode(item).deltas] == []
        with pytest.raises(EngineError, match="a sequence is lost"):
            await engine.submit("ingress", Job("b", TextPrompt("again")))

    with_engine(use)
    assert [record.levelname for record in caplog.records] == ["CRITICAL"]
