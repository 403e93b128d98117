"""What every engine of an embedding model or a reranker does, whichever process it is in."""

import asyncio
import struct
from contextlib import aclosing
from uuid import uuid4

import pytest

from actors.contracts import EmbedJob, EngineOptions, Job, RerankJob, StepItem, TextPrompt, TokenPrompt
from actors.errors import ContextLengthError, EngineError, InvalidJobError, InvalidSettingError, ModelLoadError, QueueFullError
from actors.models import ModelType
from tests.contracts.clients import engine
from tests.fakes.encoder import LONGEST, score_of, vector_of


def embedding(world, model_id="embeds", **options):
    return engine(world, model_id, type=ModelType.EMBEDDING, **options)


def reranker(world, model_id="reranks", **options):
    return engine(world, model_id, type=ModelType.RERANKER, **options)


def texts(*inputs, **options):
    return EmbedJob(options.pop("request_id", uuid4().hex), tuple(map(TextPrompt, inputs)), **options)


def rows(vectors):
    numbers = struct.unpack(f"<{len(vectors.data) // 4}f", vectors.data)
    return [numbers[start : start + vectors.dimensions] for start in range(0, len(numbers), vectors.dimensions)]


async def until(items, reached):
    """The numbers of the first item for which something holds."""
    async for item in items:
        stats = StepItem.decode(item).stats
        if reached(stats):
            return stats
    raise AssertionError("the stream has ended")


def test_vectors_come_in_the_order_of_the_inputs(run):
    async def test(world):
        async with embedding(world) as client:
            inputs = ["a", "some longer text, so that lengths are mixed" * 5, "héllo", "b" * 300, "a"]
            vectors = await client.embed(texts(*inputs))
            assert rows(vectors) == [vector_of(text) for text in inputs]
            assert (vectors.dimensions, vectors.prompt_tokens) == (4, sum(len(text.encode()) for text in inputs))
            tokens = EmbedJob("t", (TokenPrompt(tuple(b"abc")),), dimensions=2)
            assert rows(await client.embed(tokens)) == [vector_of("abc")[:2]]

    run(test)


def test_scores_come_in_the_order_of_the_documents(run):
    async def test(world):
        async with reranker(world) as client:
            documents = ("a long one that has the key somewhere in it", "none", "key")
            scores = await client.rerank(RerankJob("a", "key", documents))
            assert scores.scores == pytest.approx([score_of("key", each) for each in documents])
            assert scores.prompt_tokens == sum(len("key") + 1 + len(each) for each in documents)

    run(test)


def test_requests_that_come_together_share_forwards_and_the_stream_tells(run):
    async def test(world):
        async with embedding(world, "slow") as client, aclosing(client.stream("ingress")) as items:
            first = StepItem.decode(await anext(items))
            assert (first.deltas, first.stats.steps) == ((), 0)
            inputs = ["x" * (20 + n % 3) for n in range(40)]
            answers = await asyncio.gather(*(client.embed(texts(text)) for text in inputs))
            assert [rows(each) for each in answers] == [[vector_of(text)] for text in inputs]
            fed = sum(map(len, inputs))
            stats = await until(items, lambda stats: stats.prompt_tokens == fed)
            assert 2 <= stats.steps <= 20
            assert (stats.running, stats.waiting) == (0, 0)
            assert stats.forward_seconds >= stats.steps * 0.02

    run(test)


def test_a_small_request_overtakes_what_is_left_of_a_large_one(run):
    async def test(world):
        async with embedding(world, "slow") as client:
            await client.load()
            large = asyncio.create_task(client.embed(texts(*(f"{n:03}" * 100 for n in range(400)))))
            while not (await client.usage()).in_flight:
                pass
            await client.embed(texts("small"))
            assert not large.done()
            assert len(rows(await large)) == 400

    run(test)


def test_one_bad_input_is_its_own_requests_error(run):
    async def test(world):
        async with embedding(world) as client, reranker(world) as judge:
            good, empty, long = await asyncio.gather(
                client.embed(texts("good")),
                client.embed(texts("good", "", "good")),
                client.embed(texts("a", "b", "c", "x" * (LONGEST + 1))),
                return_exceptions=True,
            )
            assert rows(good) == [vector_of("good")]
            assert (type(empty), empty.param) == (InvalidJobError, "input.1")
            assert (type(long), long.param) == (ContextLengthError, "input.3")
            assert (long.prompt_tokens, long.context_length) == (LONGEST + 1, LONGEST)
            cut = await client.embed(texts("x" * (LONGEST + 1), truncate=True))
            assert cut.prompt_tokens == LONGEST
            for job in (EmbedJob("none", ()), RerankJob("none", "key", ())):
                with pytest.raises(InvalidJobError, match="is empty"):
                    await (client.embed(job) if isinstance(job, EmbedJob) else judge.rerank(job))
            assert (await client.usage()).in_flight == 0

    run(test)


def test_every_kind_of_engine_refuses_what_it_isnt_for(run):
    async def test(world):
        async with embedding(world) as embeds, reranker(world) as reranks, engine(world, "echo") as generates:
            embed, rerank, job = texts("a"), RerankJob("a", "b", ("c",)), Job("a", TextPrompt("b"))
            refused = (
                (embeds, "embedding", lambda: embeds.rerank(rerank)),
                (embeds, "embedding", lambda: embeds.submit("ingress", job)),
                (embeds, "embedding", lambda: embeds.count(job)),
                (reranks, "reranker", lambda: reranks.embed(embed)),
                (reranks, "reranker", lambda: reranks.submit("ingress", job)),
                (generates, "llm", lambda: generates.embed(embed)),
                (generates, "llm", lambda: generates.rerank(rerank)),
            )
            for client, kind, call in refused:
                with pytest.raises(InvalidJobError, match=f"of type {kind}"):
                    await call()
                assert (await client.usage()).in_flight == 0

    run(test)


def test_who_no_longer_waits_is_forgotten(run):
    async def test(world):
        async with embedding(world, "slow") as client:
            await client.load()
            calls = [asyncio.create_task(client.embed(texts(*["x" * 400] * 500))) for _ in range(3)]
            while (await client.usage()).in_flight < 3:
                pass
            for call in calls:
                call.cancel()
            await client.idle()  # long before all of it could have been computed
            await asyncio.wait(calls)
            assert all(call.cancelled() for call in calls)
            async with aclosing(client.stream("ingress")) as items:
                await client.embed(texts("after"))
                stats = await until(items, lambda stats: stats.steps and not stats.waiting)
                assert stats.prompt_tokens < 3 * 500 * 400

    run(test)


def test_an_abort_ends_a_request_by_its_id(run):
    async def test(world):
        async with embedding(world, "slow") as client:
            await client.load()
            call = asyncio.create_task(client.embed(texts(*["x" * 400] * 500, request_id="a")))
            while not (await client.usage()).in_flight:
                pass
            await client.abort(["a", "unknown"])
            with pytest.raises(InvalidJobError, match="was aborted"):
                await call
            assert rows(await client.embed(texts("again", request_id="a"))) == [vector_of("again")]

    run(test)


def test_an_id_that_is_here_is_refused(run):
    async def test(world):
        async with embedding(world, "slow") as client:
            first, second = await asyncio.gather(
                *(client.embed(texts("x" * 50, request_id="a")) for _ in range(2)), return_exceptions=True
            )
            assert sorted([type(first).__name__, type(second).__name__]) == ["InvalidJobError", "Vectors"]

    run(test)


def test_a_full_queue_turns_away_and_says_when_to_come_back(run):
    async def test(world):
        async with embedding(world, "slow", batch=1, queue=2) as client:
            answers = await asyncio.gather(*(client.embed(texts("x" * 30)) for _ in range(5)), return_exceptions=True)
            refused = [each for each in answers if isinstance(each, Exception)]
            assert len(refused) == 2
            assert {type(each) for each in refused} == {QueueFullError}
            assert all(each.retry_after >= 1 for each in refused)
            await client.configure(EngineOptions(1, 9))
            answers = await asyncio.gather(*(client.embed(texts("x" * 30)) for _ in range(10)), return_exceptions=True)
            assert not [each for each in answers if isinstance(each, Exception)]
            with pytest.raises(InvalidSettingError):
                await client.configure(EngineOptions(max_concurrent_requests=0))

    run(test)


def test_a_retired_engine_takes_no_more_and_finishes_what_it_has(run):
    async def test(world):
        async with embedding(world, "slow") as client:
            await client.load()
            taken = asyncio.create_task(client.embed(texts(*["x" * 400] * 30)))
            while not (await client.usage()).in_flight:
                pass
            assert not await client.retire(only_if_idle=True)
            assert await client.retire()
            with pytest.raises(EngineError, match="no more"):
                await client.embed(texts("too late"))
            assert len(rows(await taken)) == 30
            await client.idle()
            usage = await client.usage()
            assert (usage.in_flight, usage.is_retired) == (0, True)
            assert usage.idle_seconds > 0
            assert usage.memory_bytes >= 10_000_000

    run(test)


def test_a_forward_that_fails_ends_the_engine_and_all_who_wait_hear_of_it(run):
    async def test(world):
        async with embedding(world, "breaks") as client:
            assert rows(await client.embed(texts("fine"))) == [vector_of("fine")]
            answers = await asyncio.gather(*(client.embed(texts("x" * 9)) for _ in range(3)), return_exceptions=True)
            assert {type(each) for each in answers} == {EngineError}
            assert "out of memory" in str(answers[0])
            await client.closed()
            with pytest.raises(EngineError):
                await client.embed(texts("later"))

    run(test)


def test_a_model_that_cant_be_loaded_says_why(run):
    async def test(world):
        async with embedding(world, "unloadable") as client:
            for call in (client.load, lambda: client.embed(texts("a"))):
                with pytest.raises(ModelLoadError, match="of no known kind"):
                    await call()

    run(test)


def test_a_killed_engine_ends_its_calls_with_an_error(run):
    async def test(world):
        async with embedding(world, "slow") as client:
            await client.load()
            call = asyncio.create_task(client.embed(texts(*["x" * 400] * 500)))
            while not (await client.usage()).in_flight:
                pass
            await world.kill(client)
            with pytest.raises(EngineError):
                await call

    run(test)
