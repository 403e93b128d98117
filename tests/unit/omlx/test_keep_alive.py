"""A stream that waits for its model says that it lives; until it has begun, failures have their status."""

import asyncio

import pytest

from actors.errors import ModelLoadError
from omlx.api.keep_alive import kept_alive
from omlx.api.sse import LOADING
from omlx.app import create_app
from tests.fakes.http import events, post
from tests.fakes.services import HANG, FakeServices

CHAT = "/v1/chat/completions"
HELLO = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}


class SlowServices(FakeServices):
    """Its model comes up, or fails, when it is told to."""

    def __init__(self, failure=None):
        super().__init__()
        self.loaded = asyncio.Event()
        self.failure = failure

    async def submit(self, served, job):
        await self.loaded.wait()
        if self.failure is not None:
            raise self.failure
        return await super().submit(served, job)


def while_loading(services, use, *, stream=True, seconds=0.001):
    """Ask for an answer and run `use` with the call while its model is loaded; the call once it has its answer."""

    async def run():
        call = post(create_app(services, keep_alive_seconds=seconds), CHAT, HELLO | {"stream": stream})
        running = asyncio.create_task(call.run())
        await use(call)
        await running
        assert len(asyncio.all_tasks()) == 1, "something was left running"
        return call

    return asyncio.run(run())


def test_a_stream_whose_model_is_loaded_says_that_it_lives_and_goes_on_as_ever():
    services = SlowServices()

    async def use(call):
        await call.wait_for(LOADING * 2)
        services.loaded.set()

    call = while_loading(services, use)
    assert call.status == 200
    body = call.body
    while body.startswith(LOADING):
        body = body.removeprefix(LOADING)
    assert LOADING not in body
    *chunks, done = events(body)
    assert done == "[DONE]"
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == "Hello"


def test_a_load_that_fails_after_that_is_an_event():
    services = SlowServices(ModelLoadError("tiny", "no memory"))

    async def use(call):
        await call.wait_for(LOADING)
        services.loaded.set()

    call = while_loading(services, use)
    assert call.status == 200
    (error,) = events(call.body[call.body.index(b"data:") :])
    assert error["error"]["code"] == "model_load_failed"


@pytest.mark.parametrize("stream", [False, True])
def test_a_load_that_fails_before_that_has_its_status(stream):
    services = SlowServices(ModelLoadError("tiny", "no memory"))

    async def use(_call):
        services.loaded.set()

    call = while_loading(services, use, stream=stream, seconds=60)
    assert call.status == 503
    assert call.json["error"]["code"] == "model_load_failed"


def test_a_client_that_leaves_meanwhile_leaves_nothing():
    services = FakeServices(refusal=HANG)

    async def use(call):
        await call.wait_for(LOADING)
        call.leave()

    assert while_loading(services, use).status == 200


def test_what_is_there_in_time_needs_no_sign_of_life():
    async def first():
        return b"first"

    async def run():
        return [each async for each in kept_alive(first(), 60, LOADING)]

    assert asyncio.run(run()) == [b"first"]
