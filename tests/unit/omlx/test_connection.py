"""An answer has all that its request's choices say, and ends with the last of them; only what goes on is aborted."""

import asyncio
from itertools import pairwise

import pytest

from actors.contracts import EmbedJob, EngineOptions, EngineSpec, Job, TextPrompt, Vectors
from actors.errors import EngineError, RequestTimeoutError
from omlx.connection import EngineConnection
from tests.fakes.host import LocalHost
from tests.fakes.model import model_info


def with_connection(use, model_id="echo", stepped=lambda _before, _after: None):
    """Run `use` with a connection to an engine in this process, and the ids that are aborted there."""

    async def test():
        host = LocalHost()
        client = await host.start(EngineSpec(f"{model_id}-1", model_info(model_id), EngineOptions(max_concurrent_requests=1)))
        aborted = []
        abort = client.abort

        async def watched(request_ids):
            aborted.extend(request_ids)
            await abort(request_ids)

        client.abort = watched
        connection = EngineConnection(model_id, client, "ingress", stepped, lambda _connection: None)
        try:
            return await use(connection, aborted)
        finally:
            await connection.close()
            await host.stop()

    return asyncio.run(asyncio.wait_for(test(), 30))


def test_an_answer_goes_on_until_its_last_choice_has_ended():
    async def use(connection, _aborted):
        answer = await connection.submit(Job("a", TextPrompt("abc"), n=3))
        deltas = [delta async for delta in answer]
        await answer.close()
        return deltas

    deltas = with_connection(use)
    texts = {index: "".join(delta.text for delta in deltas if delta.index == index) for index in range(3)}
    assert texts == {0: "abc", 1: "abc", 2: "abc"}
    assert [delta.is_last for delta in deltas] == [False] * 11 + [True]


def test_what_has_ended_is_not_aborted_and_what_is_left_is():
    async def use(connection, aborted):
        ended = await connection.submit(Job("ended", TextPrompt("la"), max_tokens=3))
        assert [delta async for delta in ended][-1].is_last
        await ended.close()
        timed_out = await connection.submit(Job("timed out", TextPrompt("la"), timeout=0.05))
        with pytest.raises(RequestTimeoutError):
            async for _ in timed_out:
                pass
        await timed_out.close()
        left = await connection.submit(Job("left", TextPrompt("la")))
        async for _ in left:
            break
        await left.close()
        await left.close()
        assert [delta async for delta in left] == []
        await asyncio.gather(*connection._aborts)
        return aborted

    assert with_connection(use, "endless") == ["left"]


def test_an_answer_that_ended_before_it_was_looked_at_is_whole():
    async def use(connection, _aborted):
        early = await connection.submit(Job("early", TextPrompt("ab")))
        late = await connection.submit(Job("late", TextPrompt("ab")))  # after the first: there is room for one
        assert [delta async for delta in late][-1].is_last
        return "".join([delta.text async for delta in early])

    assert with_connection(use) == "ab"


def test_requests_count_from_the_moment_that_they_are_sent_until_they_end():
    async def use(connection, aborted):
        opening = [asyncio.create_task(connection.submit(Job(name, TextPrompt("la")))) for name in ("a", "b")]
        await asyncio.sleep(0)  # both wait for the stream to open
        assert connection.in_flight == 2
        opening[0].cancel()
        await asyncio.wait(opening[:1])
        assert connection.in_flight == 1
        answer = await opening[1]
        assert connection.in_flight == 1
        await answer.close()
        assert connection.in_flight == 0
        await asyncio.gather(*connection._aborts)
        return aborted

    assert with_connection(use, "endless") == ["b"]  # of the other, the engine never heard


@pytest.mark.parametrize("ending", ["answered", "broken", "called off"])
def test_calls_for_vectors_count_until_they_end(ending):
    job = EmbedJob("embd-1", (TextPrompt("la"),))

    async def use(connection, _aborted):
        vectors = asyncio.get_running_loop().create_future()
        connection._client.embed = lambda _job: vectors
        call = asyncio.create_task(connection.embed(job))
        await asyncio.sleep(0)
        assert connection.in_flight == 1
        if ending == "answered":
            vectors.set_result(Vectors(bytes(4), 1, 2))
            assert await call == Vectors(bytes(4), 1, 2)
        elif ending == "broken":
            vectors.set_exception(EngineError("echo", "killed"))
            with pytest.raises(EngineError):
                await call
        else:
            call.cancel()
            await asyncio.wait([call])
            assert vectors.cancelled()
        return connection.in_flight

    assert with_connection(use) == 0


def test_every_item_tells_what_the_engine_did_since_the_one_before():
    steps = []

    async def use(connection, _aborted):
        for name in ("a", "b"):
            assert len([delta async for delta in await connection.submit(Job(name, TextPrompt("abc")))]) == 4
        return connection.stats

    stats = with_connection(use, stepped=lambda before, after: steps.append((before, after)))
    assert stats.steps > 0
    assert steps[0][0] == steps[0][1]  # what the engine did before the stream was opened isn't new
    assert all(before == earlier for (_, earlier), (before, _) in pairwise(steps))
    assert steps[-1][1] == stats
