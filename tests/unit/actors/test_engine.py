"""What an engine says of itself: when it is idle, which waits for its last words for a while, and what it takes."""

import asyncio
from contextlib import aclosing
from dataclasses import replace

from actors.contracts import EngineSpec, Job, StepItem, TextPrompt
from actors.engine import base
from actors.engine.engine import Engine
from actors.errors import InvalidJobError
from actors.folder_lock import alone
from tests.fakes.model import echo_backend, model_info


def with_engine(use, load_backend=echo_backend):
    async def test():
        engine = Engine(EngineSpec("echo-1", model_info()), load_backend, on_broken=print)
        try:
            async with aclosing(engine.stream("ingress")) as items:
                await anext(items)
                await use(engine, items)
        finally:
            await engine.stop()

    asyncio.run(asyncio.wait_for(test(), 30))


def test_last_words_are_fetched_before_an_engine_counts_as_idle():
    async def use(engine, items):
        await engine.submit("ingress", Job("a", TextPrompt("hi")))
        await engine._occupancy.empty()
        assert not await engine.retire(only_if_idle=True)
        idle = asyncio.create_task(engine.idle())
        await asyncio.sleep(0)
        assert not idle.done()
        deltas = StepItem.decode(await anext(items)).deltas
        more = asyncio.create_task(anext(items))  # the item is on its way once the stream is asked for the next
        await idle
        assert deltas[-1].is_last
        assert await engine.retire(only_if_idle=True)
        more.cancel()
        await asyncio.wait([more])

    with_engine(use)


def test_nobody_is_waited_for_for_ever(monkeypatch):
    monkeypatch.setattr(base, "_LAST_WORDS_SECONDS", 0.01)

    async def use(engine, _items):
        await engine.submit("ingress", Job("a", TextPrompt("hi")))
        await engine.idle()
        assert not await engine.retire(only_if_idle=True)
        assert await engine.retire()

    with_engine(use)


def test_a_job_counts_while_its_prompt_is_taken_in_though_it_is_aborted_then():
    async def use(engine, _items):
        taking = asyncio.create_task(engine.submit("ingress", Job("a", TextPrompt("hi"))))
        await asyncio.sleep(0)
        assert (await engine.usage()).in_flight == 1
        assert not await engine.retire(only_if_idle=True)
        await engine.abort(["a"])
        (outcome,) = await asyncio.gather(taking, return_exceptions=True)
        assert isinstance(outcome, InvalidJobError)
        assert (await engine.usage()).in_flight == 0

    with_engine(use)


def test_a_submission_that_is_cancelled_is_not_held():
    async def use(engine, _items):
        taking = asyncio.create_task(engine.submit("ingress", Job("a", TextPrompt("hi"))))
        await asyncio.sleep(0)
        taking.cancel()
        await asyncio.wait([taking])
        await engine.idle()
        assert (await engine.usage()).in_flight == 0

    with_engine(use)


def test_an_engine_takes_of_the_memory_that_its_model_lives_in():
    async def use(engine, _items):
        before = (await engine.usage()).memory_bytes
        assert before > 1_000_000  # it lives in this process
        await engine.load()
        assert (await engine.usage()).memory_bytes == 12_345

    with_engine(use, lambda model, options: replace(echo_backend(model, options), device_bytes=lambda: 12_345))


def test_a_folder_is_seen_to_be_in_use_before_anything_of_it_is_read(tmp_path):
    def load(model, options):
        with alone(tmp_path) as free:
            seen.append(free)
        return echo_backend(model, options)

    async def test():
        engine = Engine(EngineSpec("echo-1", model_info(path=tmp_path)), load, on_broken=print)
        await engine.load()
        await engine.stop()

    seen = []
    asyncio.run(asyncio.wait_for(test(), 30))
    assert seen == [False]
    with alone(tmp_path) as free:
        assert free
