"""An answer has all that its request's choices say, and ends with the last of them."""

import asyncio

from actors.contracts import EngineOptions, EngineSpec, Job, TextPrompt
from omlx.connection import EngineConnection
from tests.fakes.host import LocalHost
from tests.fakes.model import model_info


def test_an_answer_goes_on_until_its_last_choice_has_ended():
    async def test():
        host = LocalHost()
        client = await host.start(EngineSpec("echo-1", model_info("echo"), EngineOptions(max_concurrent_requests=1)))
        connection = EngineConnection("echo", client, "ingress", lambda _connection: None)
        try:
            answer = await connection.submit(Job("a", TextPrompt("abc"), n=3))
            deltas = [delta async for delta in answer]
            await answer.close()
        finally:
            await connection.close()
            await host.stop()
        return deltas

    deltas = asyncio.run(asyncio.wait_for(test(), 30))
    texts = {index: "".join(delta.text for delta in deltas if delta.index == index) for index in range(3)}
    assert texts == {0: "abc", 1: "abc", 2: "abc"}
    assert [delta.is_last for delta in deltas] == [False] * 11 + [True]
