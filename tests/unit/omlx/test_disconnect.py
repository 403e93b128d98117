"""A client that leaves: its answer is closed at once, whatever it was waiting for."""

import asyncio

import pytest
from starlette.requests import ClientDisconnect

from omlx.api.disconnect import unless_gone
from omlx.app import create_app
from tests.fakes.http import Call, get, post
from tests.fakes.services import HANG, FakeServices

CHAT = "/v1/chat/completions"


def leave(services, stream, until):
    """Ask, wait for something, hang up; the call once the application is done with it."""

    async def run():
        app = create_app(services)
        call = post(app, CHAT, {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "stream": stream})
        running = asyncio.create_task(call.run())
        if isinstance(until, bytes):
            await call.wait_for(until)
        else:
            while not until():  # noqa: ASYNC110 - it is the application that is waited for
                await asyncio.sleep(0)
        call.leave()
        await running
        assert len(asyncio.all_tasks()) == 1, "something was left running"
        return call, await Call(app, "GET", "/metrics").run()

    return asyncio.run(run())


def test_in_the_middle_of_a_stream():
    services = FakeServices(("Hel", "lo", HANG))
    call, metrics = leave(services, True, b"lo")
    assert call.status == 200
    assert b"[DONE]" not in call.body
    assert [answer.closed for answer in services.answers] == [1]
    assert b'omlx_generation_tokens_total{model_name="tiny"} 2.0' in metrics.body
    assert b"omlx_request_success_total{" not in metrics.body
    assert b'omlx_requests_aborted_total{model_name="tiny"} 1.0' in metrics.body
    assert b'finished_reason="abort",model_name="tiny",status="200"} 1.0' in metrics.body


@pytest.mark.parametrize("stream", [False, True])
def test_before_the_first_token(stream):
    services = FakeServices((HANG,))
    call, metrics = leave(services, stream, lambda: services.answers)
    assert call.status == 499
    assert [answer.closed for answer in services.answers] == [1]
    assert b'{endpoint="/v1/chat/completions",method="POST",status="499"} 1.0' in metrics.body
    assert b'omlx_requests_aborted_total{model_name="tiny"} 1.0' in metrics.body
    assert b"omlx_requests_rejected_total{" not in metrics.body


def test_in_the_middle_of_a_whole_answer():
    services = FakeServices(("Hel", "lo", HANG))
    call, _ = leave(services, False, lambda: services.answers)
    assert call.status == 499
    assert [answer.closed for answer in services.answers] == [1]


@pytest.mark.parametrize("stream", [False, True])
def test_while_the_model_is_loaded(stream):
    services = FakeServices(refusal=HANG)
    call, _ = leave(services, stream, lambda: services.jobs)
    assert call.status == 499


def test_while_sending_its_body():
    services = FakeServices()

    async def run():
        call = Call(create_app(services), "POST", CHAT, ())
        call.leave()
        return await call.run()

    assert asyncio.run(run()).status == 499
    assert services.jobs == []


def test_a_stream_that_the_server_ends_closes_its_answer():
    services = FakeServices(("Hel", HANG))

    async def run():
        call = post(create_app(services), CHAT, {"model": "tiny", "messages": [{"role": "user", "content": "a"}], "stream": True})
        running = asyncio.create_task(call.run())
        await call.wait_for(b"Hel")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())
    assert [answer.closed for answer in services.answers] == [1]


def test_a_stream_stuck_in_sending_closes_its_answer():
    services = FakeServices(("Hel", "lo"))

    async def run():
        call = post(create_app(services), CHAT, {"model": "tiny", "messages": [{"role": "user", "content": "a"}], "stream": True})
        stuck = asyncio.Event()

        async def send(message):
            if message["type"] == "http.response.body":
                stuck.set()
                await asyncio.Event().wait()

        running = asyncio.create_task(call._app(call._scope, call._receive, send))
        await stuck.wait()
        call.leave()
        await running

    asyncio.run(run())
    assert [answer.closed for answer in services.answers] == [1]


def test_work_that_is_done_wins_over_a_departure():
    async def run():
        async def gone():
            return {"type": "http.disconnect"}

        async def work():
            return 5

        async def slow():
            await asyncio.sleep(60)

        assert await unless_gone(gone, work()) == 5
        with pytest.raises(ClientDisconnect):
            await unless_gone(gone, slow())

    asyncio.run(run())


def test_other_routes_do_not_care():
    assert get(create_app(FakeServices()), "/health").status == 200
