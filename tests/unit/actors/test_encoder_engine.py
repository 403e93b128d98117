"""What shares a forward, and what becomes of requests that end before they are computed."""

import asyncio
import threading
from contextlib import suppress

from actors.contracts import EmbedJob, EngineSpec, TextPrompt
from actors.engine.encoder_backend import EncoderBackend
from actors.engine.encoder_engine import EncoderEngine
from actors.models import ModelType
from tests.fakes.encoder import LONGEST, ByteEncoder
from tests.fakes.model import model_info


class GatedEncoder(ByteEncoder):
    """Each forward waits until it is let through."""

    def __init__(self):
        super().__init__(ModelType.EMBEDDING)
        self.gate = threading.Semaphore(0)
        self.entered = threading.Semaphore(0)

    def encode(self, rows):
        self.entered.release()
        self.gate.acquire()
        return super().encode(rows)

    async def inside(self):
        """Return once a forward waits at the gate."""
        await asyncio.to_thread(self.entered.acquire)


def job(request_id, *texts):
    return EmbedJob(request_id, tuple(map(TextPrompt, texts)))


def with_engine(use):
    async def test():
        encoder = GatedEncoder()
        spec = EngineSpec("e-1", model_info("e", type=ModelType.EMBEDDING))
        engine = EncoderEngine(spec, lambda _model, _options: EncoderBackend(encoder, LONGEST, "cpu"), on_broken=print)
        await engine.load()
        try:
            await use(engine, encoder)
        finally:
            encoder.gate.release(1000)
            await engine.stop()

    asyncio.run(asyncio.wait_for(test(), 30))


async def taken(engine, count):
    """Return once so many requests are in the hands of the thread."""
    while len(engine._computed) < count:  # noqa: ASYNC110 - other threads do their part of it
        await asyncio.sleep(0)


def test_all_that_came_while_the_thread_was_busy_share_the_next_forward():
    async def use(engine, encoder):
        first = asyncio.create_task(engine.embed(job("first", "aaaa")))
        await encoder.inside()
        others = [asyncio.create_task(engine.embed(job(str(n), "bbbbb"))) for n in range(10)]
        await taken(engine, 11)
        encoder.gate.release(2)
        await asyncio.gather(first, *others)
        assert encoder.forwards == [[4], [5] * 10]

    with_engine(use)


def test_a_request_that_is_cancelled_is_not_computed():
    async def use(engine, encoder):
        first = asyncio.create_task(engine.embed(job("first", "a")))
        await encoder.inside()
        cancelled = asyncio.create_task(engine.embed(job("cancelled", "bb", "cc")))
        last = asyncio.create_task(engine.embed(job("last", "d")))
        await taken(engine, 3)
        cancelled.cancel()
        with suppress(asyncio.CancelledError):
            await cancelled
        encoder.gate.release(2)
        await asyncio.gather(first, last)
        assert encoder.forwards == [[1], [1]]
        assert (await engine.usage()).in_flight == 0

    with_engine(use)


def test_what_was_computed_for_a_request_that_is_gone_is_not_taken_for_another_of_its_id():
    async def use(engine, encoder):
        first = asyncio.create_task(engine.embed(job("same", "aaa")))
        await encoder.inside()
        first.cancel()
        with suppress(asyncio.CancelledError):
            await first
        second = asyncio.create_task(engine.embed(job("same", "bbbbbbb")))
        await taken(engine, 1)
        encoder.gate.release(2)
        assert (await second).prompt_tokens == 7
        assert (await second).data[:4] == b"\0\0\xe0\x40"  # 7.0

    with_engine(use)


def test_a_request_that_is_aborted_while_it_is_read_is_not_computed():
    async def use(engine, encoder):
        call = asyncio.create_task(engine.embed(job("a", *["text"] * 300)))
        await asyncio.sleep(0)
        await engine.abort(["a"])
        (outcome,) = await asyncio.gather(call, return_exceptions=True)
        assert "was aborted" in str(outcome)
        assert (encoder.forwards, (await engine.usage()).in_flight) == ([], 0)

    with_engine(use)


def test_an_answer_does_not_wait_for_others_that_were_left_over_and_have_gone():
    async def use(engine, encoder):
        first = asyncio.create_task(engine.embed(job("first", "a")))
        await encoder.inside()
        short = asyncio.create_task(engine.embed(job("short", "b")))
        long = asyncio.create_task(engine.embed(job("long", "c" * LONGEST)))
        await taken(engine, 3)
        encoder.gate.release()
        await first
        await encoder.inside()  # one of the two; they are too unlike to go together
        long.cancel()
        with suppress(asyncio.CancelledError):
            await long
        encoder.gate.release()
        assert (await asyncio.wait_for(short, 10)).prompt_tokens == 1

    with_engine(use)
