"""What every engine behind an `EngineClient` does, whichever process it is in."""

import asyncio
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from time import monotonic
from uuid import uuid4

import pytest

from actors.contracts import ChatPrompt, EngineOptions, Job, LikelyToken, StepItem, TextPrompt, Tools
from actors.errors import (
    ContextLengthError,
    EngineError,
    InvalidJobError,
    InvalidSettingError,
    ModelLoadError,
    QueueFullError,
)
from actors.folder_lock import alone
from actors.models import ModelType
from scheduler.sampling import SamplingParams
from tests.contracts.clients import engine, reading
from tests.fakes.model import CONTEXT


def job(text, request_id=None, **options):
    return Job(request_id or uuid4().hex, TextPrompt(text), **options)


async def collect(deltas, count):
    """Texts and last deltas by request, once `count` requests have ended."""
    texts, ends = {}, {}
    async for delta in deltas:
        texts[delta.request_id] = texts.get(delta.request_id, "") + delta.text
        if delta.finish_reason:
            ends[delta.request_id] = delta
            if len(ends) == count:
                break
    return texts, ends


def test_many_jobs_are_answered_on_one_stream(run):
    async def test(world):
        async with engine(world) as client, reading(client) as deltas:
            texts = [f"héllo {n} \U0001f600" for n in range(7)]  # more than the batch holds
            counts = await asyncio.gather(*(client.submit("ingress", job(t, str(n))) for n, t in enumerate(texts)))
            got, ends = await collect(deltas, len(texts))
            assert got == {str(n): text for n, text in enumerate(texts)}
            assert counts == [len(text.encode()) for text in texts]
            usage = ends["0"].usage
            assert (ends["0"].finish_reason, usage.prompt_tokens, usage.completion_tokens) == ("stop", 13, 14)
            assert min(usage.queue_seconds, usage.prefill_seconds, usage.decode_seconds) >= 0

    run(test)


def test_an_answer_ends_at_max_tokens_or_at_a_stop_text(run):
    async def test(world):
        async with engine(world) as client, reading(client) as deltas:
            await client.submit("ingress", job("abcdef", "short", max_tokens=3))
            await client.submit("ingress", job("one. two. three", "stopped", stop=(". t",)))
            texts, ends = await collect(deltas, 2)
            assert texts == {"short": "abc", "stopped": "one"}
            assert (ends["short"].finish_reason, ends["stopped"].finish_reason) == ("length", "stop")
            assert ends["stopped"].usage.completion_tokens == len("one. t")

    run(test)


def test_every_token_brings_its_logprobs_though_its_text_waits(run):
    async def test(world):
        async with engine(world) as client, reading(client) as deltas:
            await client.submit("ingress", job("hé!", "a", sampling=SamplingParams(logprobs=2)))
            await client.submit("ingress", job("xyz", "b", sampling=SamplingParams(logprobs=0), max_tokens=1))
            await client.submit("ingress", job("none", "c"))
            got, ended = {"a": [], "b": [], "c": []}, 0
            async for delta in deltas:
                got[delta.request_id].append(delta)
                ended += delta.finish_reason is not None
                if ended == 3:
                    break
            assert [delta.text for delta in got["a"]] == ["h", "", "é", "!", ""]
            entries = [entry for delta in got["a"] for entry in delta.logprobs]
            assert [len(delta.logprobs) for delta in got["a"]] == [1, 1, 1, 1, 0]  # the ending token is no part of the answer
            assert b"".join(bytes(entry.token.bytes) for entry in entries) == "hé!".encode()
            assert entries[0].top == (LikelyToken("h", (104,), -0.25), LikelyToken("x", (120,), -2.0))
            assert [len(entry.top) for delta in got["b"] for entry in delta.logprobs] == [0]
            assert not any(delta.logprobs for delta in got["c"])

    run(test)


TOOLS = Tools(tuple({"type": "function", "function": {"name": name, "parameters": {}}} for name in ("f", "g")))
CALL = '<tool_call>{"name": "f", "arguments": {"x": "é"}}</tool_call>'


def asking(text, request_id, tools=TOOLS, **options):
    """A conversation that is answered by what it ends with."""
    return Job(request_id, ChatPrompt(({"role": "user", "content": text},), tools=tools), **options)


async def said(deltas, count):
    """The texts, the reasoning, the calls and the last deltas of requests, once so many have ended."""
    told, ends = {}, {}
    async for delta in deltas:
        parts = told.setdefault(delta.request_id, ["", "", []])
        parts[0] += delta.reasoning
        parts[1] += delta.text
        parts[2] += [(call.number, call.name, call.arguments) for call in delta.tool_calls]
        if delta.finish_reason:
            ends[delta.request_id] = delta
            if len(ends) == count:
                break
    return told, ends


def test_reasoning_and_calls_are_told_from_text(run):
    async def test(world):
        async with engine(world, "caller") as client, reading(client) as deltas:
            await client.submit(
                "ingress", asking(f"<think>Hé</think>\n\nSo:\n{CALL}\n{CALL}", "a", sampling=SamplingParams(logprobs=0))
            )
            await client.submit("ingress", asking("No calls.\n", "b"))
            await client.submit("ingress", asking(f"A{CALL}{CALL}B", "c", replace(TOOLS, one_call=True)))
            await client.submit("ingress", asking(f"A{CALL}", "d", max_tokens=20))
            await client.submit("ingress", asking(f"A <think> {CALL}", "e", None))
            told, ends = await said(deltas, 5)
            call = ("f", '{"x": "é"}')
            assert told == {
                "a": ["Hé", "So:", [(0, *call), (1, *call)]],
                "b": ["", "No calls.\n", []],
                "c": ["", "A", [(0, *call)]],
                "d": ["", f"A{CALL}"[:20], []],
                "e": ["", f"A <think> {CALL}", []],
            }
            reasons = {request_id: end.finish_reason for request_id, end in ends.items()}
            assert reasons == {"a": "tool_calls", "b": "stop", "c": "tool_calls", "d": "length", "e": "stop"}
            assert ends["a"].usage.reasoning_tokens == len("Hé</think>".encode())
            assert ends["c"].usage.completion_tokens == len(f"A{CALL}".encode())

    run(test)


def test_each_token_is_counted_once_and_has_its_logprobs_wherever_it_goes(run):
    async def test(world):
        answer = f"<think>Hm</think>A{CALL}B<tool_call>"
        async with engine(world, "caller") as client, reading(client) as deltas:
            await client.submit("ingress", asking(answer, "a", sampling=SamplingParams(logprobs=0)))
            counted, spelled, order = 0, b"", []
            async for delta in deltas:
                counted += delta.tokens
                spelled += b"".join(bytes(entry.token.bytes) for entry in delta.logprobs)
                order += [each for each in (delta.reasoning, delta.text, *delta.tool_calls) if each]
                if delta.is_last:
                    break
            assert (spelled.decode(), counted) == (answer, delta.usage.completion_tokens)
            assert [each if isinstance(each, str) else each.name for each in order] == ["H", "m", "A", "f", "B", "<tool_call>"]

    run(test)


def test_a_prompt_may_end_in_the_reasoning_or_in_a_call(run):
    async def test(world):
        async with engine(world, "caller") as client, reading(client) as deltas:
            await client.submit("ingress", asking("Hm <think>\n", "a"))
            body = CALL.removeprefix("<tool_call>")
            prompt = len(f"f g\2{body}".encode())
            forced = asking(body, "b", replace(TOOLS, must_call=True), max_tokens=len(body.encode()))
            assert await client.submit("ingress", forced) == prompt + len("<tool_call>")
            told, ends = await said(deltas, 2)
            assert told["a"] == ["Hm <think>", "", []]
            assert told["b"] == ["", "", [(0, "f", '{"x": "é"}')]]
            assert ends["b"].finish_reason == "length"

    run(test)


def test_the_stop_text_that_ended_an_answer_is_told(run):
    async def test(world):
        async with engine(world, "caller") as client, reading(client) as deltas:
            await client.submit("ingress", asking("<think>a. b</think>c. d", "a", stop=("!", ". ")))
            await client.submit("ingress", asking("c", "b", stop=("!",)))
            told, ends = await said(deltas, 2)
            assert told == {"a": ["a. b", "c", []], "b": ["", "c", []]}
            assert (ends["a"].finish_reason, ends["a"].stop_text, ends["b"].stop_text) == ("stop", ". ", "")

    run(test)


def test_a_model_that_knows_no_tools_refuses_them(run):
    async def test(world):
        async with engine(world) as client, reading(client):
            with pytest.raises(InvalidJobError, match="no place for tools") as caught:
                await client.submit("ingress", asking("Hi", "a"))
            assert caught.value.param == "tools"

    run(test)


def test_a_prompt_is_counted_without_an_answer(run):
    async def test(world):
        async with engine(world, "caller") as client:
            assert await client.count(asking("Hé", "a", replace(TOOLS, must_call=True))) == len("f g\2Hé<tool_call>".encode())
            assert await client.count(job("héllo")) == 6
            with pytest.raises(InvalidJobError):
                await client.count(job(""))
            assert (await client.usage()).in_flight == 0
            await client.retire()
            with pytest.raises(EngineError):
                await client.count(job("hi"))

    run(test)


async def by_choice(deltas):
    """One request's texts and last deltas by choice, once it has ended; and all its deltas in order."""
    texts, ends, order = {}, {}, []
    async for delta in deltas:
        order.append(delta)
        texts[delta.index] = texts.get(delta.index, "") + delta.text
        if delta.finish_reason:
            assert delta.index not in ends
            ends[delta.index] = delta
        if delta.is_last:
            return texts, ends, order
    raise AssertionError("it has no end")


@pytest.mark.parametrize("n", [2, 7])
def test_a_job_may_have_several_choices_more_than_the_batch_holds_too(run, n):
    async def test(world):
        async with engine(world, batch=3) as client, reading(client) as deltas:
            assert await client.submit("ingress", job("héllo", "a", n=n)) == 6
            texts, ends, order = await by_choice(deltas)
            assert texts == dict.fromkeys(range(n), "héllo")
            assert {delta.request_id for delta in order} == {"a"}
            assert [delta.finish_reason for delta in ends.values()] == ["stop"] * n
            assert [delta.usage for delta in ends.values()][:-1] == [None] * (n - 1)
            usage = order[-1].usage
            assert (usage.prompt_tokens, usage.completion_tokens) == (6, 7 * n)

    run(test)


def test_choices_come_step_by_step_together(run):
    async def test(world):
        async with engine(world) as client, reading(client) as deltas:
            await client.submit("ingress", job("abc", "a", n=2))
            _, _, order = await by_choice(deltas)
            assert [delta.index for delta in order] == [0, 1] * 4
            assert [delta.text for delta in order] == ["a", "a", "b", "b", "c", "c", "", ""]

    run(test)


def test_a_stop_text_ends_each_choice_for_itself(run):
    async def test(world):
        async with engine(world, "drifting") as client, reading(client) as deltas:
            await client.submit("ingress", job("aaa", "a", n=3, stop=("c",), max_tokens=4))
            texts, ends, _ = await by_choice(deltas)
            assert texts == {0: "aaaa", 1: "bbbb", 2: ""}
            assert {index: delta.finish_reason for index, delta in ends.items()} == {0: "length", 1: "length", 2: "stop"}
            assert next(iter(ends)) == 2  # and the others go on
            assert [delta.usage.completion_tokens for delta in ends.values() if delta.usage] == [9]

    run(test)


def test_an_abort_ends_every_choice_that_runs_or_waits(run):
    async def test(world):
        async with engine(world, "endless", batch=2) as client, aclosing(client.stream("ingress")) as items:
            await anext(items)
            await client.submit("ingress", job("la", "all", n=4))
            await anext(items)
            await client.abort(["all"])
            await client.submit("ingress", job("lo", "next", max_tokens=2, n=3))
            async for data in items:
                item = StepItem.decode(data)
                if any(delta.request_id == "next" and delta.is_last for delta in item.deltas):
                    break
            assert (item.stats.running, item.stats.waiting) == (0, 0)
            assert item.stats.generation_tokens < CONTEXT  # that of "all" has not gone on to the context's end

    run(test)


def test_which_tokens_end_an_answer_is_the_jobs_to_say(run):
    async def test(world):
        async with engine(world) as client, reading(client) as deltas:
            await client.submit("ingress", job("ab", "goes on", ignore_eos=True, max_tokens=6))
            await client.submit("ingress", job("abc", "stops", stop_token_ids=(ord("b"),), ignore_eos=True, max_tokens=6))
            texts, ends = await collect(deltas, 2)
            assert texts == {"goes on": "ab", "stops": "a"}
            assert (ends["goes on"].finish_reason, ends["goes on"].usage.completion_tokens) == ("length", 6)
            assert (ends["stops"].finish_reason, ends["stops"].usage.completion_tokens) == ("stop", 2)

    run(test)


def test_a_job_that_cant_run_is_refused_with_its_own_error(run):
    async def test(world):
        async with engine(world) as client, reading(client) as deltas:
            with pytest.raises(ContextLengthError) as caught:
                await client.submit("ingress", job("x" * CONTEXT))
            assert (caught.value.prompt_tokens, caught.value.param) == (CONTEXT, "prompt")
            with pytest.raises(InvalidJobError):
                await client.submit("ingress", job(""))
            with pytest.raises(InvalidJobError, match="no token 999"):
                await client.submit("ingress", job("x", sampling=SamplingParams(logit_bias={999: 1.0})))
            with pytest.raises(InvalidJobError, match="no stream"):
                await client.submit("nobody", job("x"))
            await client.submit("ingress", job("x" * (CONTEXT - 2), "fits"))
            _, ends = await collect(deltas, 1)
            assert ends["fits"].finish_reason == "length"  # the context is full

    run(test)


def test_an_aborted_request_says_nothing_more_and_makes_room(run):
    async def test(world):
        async with engine(world, "endless", batch=1) as client, reading(client) as deltas:
            await client.submit("ingress", job("la", "first"))
            assert (await anext(deltas)).request_id == "first"
            await client.submit("ingress", job("lo", "second", max_tokens=2))
            await client.abort(["first", "unknown"])
            texts, _ = await collect(deltas, 1)
            assert texts["second"] == "lo"

    run(test)


def test_a_request_that_is_aborted_while_it_is_taken_in_makes_room(run):
    async def test(world):
        async with engine(world, "endless", batch=1) as client, reading(client) as deltas:
            leaving = asyncio.create_task(client.submit("ingress", job("la", "left")))
            await asyncio.sleep(0)  # it has been sent
            await client.abort(["left"])
            (outcome,) = await asyncio.gather(leaving, return_exceptions=True)
            assert outcome == 2 or (
                isinstance(outcome, InvalidJobError) and "aborted" in str(outcome)
            )  # it had been taken by then, or not
            await client.submit("ingress", job("lo", "kept", max_tokens=2))  # which finds the one row free
            texts, _ = await collect(deltas, 1)
            assert texts["kept"] == "lo"

    run(test)


def test_a_request_whose_abort_overtakes_it_never_runs(run):
    async def test(world):
        async with engine(world, "endless", batch=1) as client, reading(client) as deltas:
            await client.abort(["left"])
            with pytest.raises(InvalidJobError, match="aborted"):
                await client.submit("ingress", job("la", "left"))
            await client.submit("ingress", job("lo", "kept", max_tokens=2))
            texts, _ = await collect(deltas, 1)
            assert texts == {"kept": "lo"}

    run(test)


def test_closing_a_stream_aborts_what_its_consumer_asked_for(run):
    async def test(world):
        async with engine(world, "endless", batch=1) as client, reading(client, "stays") as deltas:
            async with reading(client, "leaves") as theirs:
                await client.submit("leaves", job("la", "left"))
                await anext(theirs)
            await client.submit("stays", job("lo", "kept", max_tokens=2))
            texts, _ = await collect(deltas, 1)
            assert texts == {"kept": "lo"}

    run(test)


def test_opening_a_stream_again_ends_the_earlier_one(run):
    async def test(world):
        async with engine(world) as client, reading(client) as earlier, reading(client) as later:
            assert [delta async for delta in earlier] == []
            await client.submit("ingress", job("hi", "a"))
            texts, _ = await collect(later, 1)
            assert texts == {"a": "hi"}

    run(test)


def test_a_killed_engine_ends_its_stream_with_an_error(run):
    async def test(world):
        async with engine(world, "endless") as client, reading(client) as deltas:
            closed = asyncio.create_task(client.closed())
            await client.submit("ingress", job("la"))
            await anext(deltas)
            await world.kill(client)
            with pytest.raises(EngineError):
                async for _ in deltas:
                    pass
            with pytest.raises(EngineError):
                await client.submit("ingress", job("la"))
            await closed

    run(test)


def test_a_model_may_be_told_from_others_by_its_organization(run):
    async def test(world):
        async with engine(world, "org/echo") as client, reading(client) as deltas:
            await client.submit("ingress", job("hi", "a"))
            assert (await collect(deltas, 1))[0] == {"a": "hi"}
            again = await world.host.connect((await client.load()).engine_id)
            assert (await again.load()).model_id == "org/echo"

    run(test)


def test_a_broken_engine_tells_its_requests_why_and_ends(run):
    async def test(world):
        async with engine(world, "breaks") as client, reading(client) as deltas:
            closed = asyncio.create_task(client.closed())
            await client.submit("ingress", job("long enough", "a"))
            _, ends = await collect(deltas, 1)
            assert ends["a"].finish_reason == "error"
            assert "out of memory" in ends["a"].error
            await closed

    run(test)


def test_a_model_that_cant_be_loaded_says_why(run):
    async def test(world):
        async with engine(world, "unloadable") as client:
            with pytest.raises(ModelLoadError, match="no known kind"):
                await client.load()

    run(test)


def test_engines_are_found_again_by_whoever_looks(run):
    async def test(world):
        async with engine(world) as client:
            info = await client.load()
            assert info.engine_id in {spec.engine_id for spec, _ in await world.host.running()}
            again = await world.host.connect(info.engine_id)
            assert await again.load() == info
        assert info.engine_id not in {spec.engine_id for spec, _ in await world.host.running()}
        with pytest.raises(EngineError):
            await world.host.connect(info.engine_id)

    run(test)


def test_a_full_queue_turns_away_and_says_when_to_come_back(run):
    async def test(world):
        async with engine(world, "endless", batch=1, queue=2) as client, reading(client) as deltas:
            for n in range(3):  # one answered, two waiting
                await client.submit("ingress", job("la", str(n), max_tokens=50))
            with pytest.raises(QueueFullError) as caught:
                await client.submit("ingress", job("la"))
            assert caught.value.retry_after >= 1
            await collect(deltas, 1)
            await client.submit("ingress", job("la", "later", max_tokens=2))
            texts, _ = await collect(deltas, 3)
            assert texts["later"] == "la"

    run(test)


def test_a_request_ends_when_its_time_is_over(run):
    async def test(world):
        async with engine(world, "endless", batch=1) as client, reading(client) as deltas:
            await client.submit("ingress", job("la", "slow", timeout=0.2))
            await client.submit("ingress", job("la", "next", max_tokens=2))
            _, ends = await collect(deltas, 2)
            assert (ends["slow"].finish_reason, ends["next"].finish_reason) == ("timeout", "length")
            assert "0.2 s" in ends["slow"].error

    run(test)


def test_a_timeout_ends_every_choice_with_one_word(run):
    async def test(world):
        async with engine(world, "endless", batch=2) as client, reading(client) as deltas:
            await client.submit("ingress", job("la", "slow", n=3, timeout=0.2))
            await client.submit("ingress", job("lo", "next", max_tokens=2))
            _, ends = await collect(deltas, 2)
            assert (ends["slow"].finish_reason, ends["next"].finish_reason) == ("timeout", "length")
            assert ends["slow"].is_last

    run(test)


def test_a_request_counts_once_in_the_queue_whatever_its_choices(run):
    async def test(world):
        async with engine(world, "endless", batch=1, queue=1) as client, reading(client) as deltas:
            await client.submit("ingress", job("la", "first", n=4, max_tokens=2))
            await client.submit("ingress", job("la", "second", n=4, max_tokens=2))
            with pytest.raises(QueueFullError):
                await client.submit("ingress", job("la"))
            ended = set()
            async for delta in deltas:
                ended |= {delta.request_id} if delta.is_last else set()
                if len(ended) == 2:
                    break

    run(test)


def test_a_request_whose_id_is_here_is_refused(run):
    async def test(world):
        async with engine(world, "endless") as client, reading(client):
            await client.submit("ingress", job("la", "a", n=2))
            for taken in ("a", "a/1"):
                with pytest.raises(InvalidJobError, match="already here"):
                    await client.submit("ingress", job("la", taken))

    run(test)


def test_a_lower_priority_is_handled_earlier(run):
    async def test(world):
        async with engine(world, "endless", batch=1) as client, reading(client) as deltas:
            await client.submit("ingress", job("la", "first", max_tokens=40))
            assert (await anext(deltas)).request_id == "first"  # it has begun
            await client.submit("ingress", job("la", "later", max_tokens=2, priority=1))
            await client.submit("ingress", job("la", "urgent", max_tokens=2, priority=-1))
            _, ends = await collect(deltas, 3)
            assert list(ends) == ["first", "urgent", "later"]

    run(test)


def test_a_jobs_own_context_window_bounds_prompt_and_answer(run):
    async def test(world):
        async with engine(world, "endless") as client, reading(client) as deltas:
            with pytest.raises(ContextLengthError) as caught:
                await client.submit("ingress", job("x" * 20, context_window=20))
            assert (caught.value.prompt_tokens, caught.value.context_length) == (20, 20)
            await client.submit("ingress", job("x" * 16, "room", context_window=20))
            await client.submit("ingress", job("x" * 16, "less", context_window=20, max_tokens=3))
            await client.submit("ingress", job("x" * (CONTEXT - 2), "more", context_window=CONTEXT * 2))
            _, ends = await collect(deltas, 3)
            assert {name: end.usage.completion_tokens for name, end in ends.items()} == {"room": 4, "less": 3, "more": 2}

    run(test)


def chat(template=None, **variables):
    return ChatPrompt(({"role": "user", "content": "hi"},), template, variables)


def test_a_chat_is_put_into_words_by_the_jobs_template_and_variables(run):
    async def test(world):
        async with engine(world) as client, reading(client) as deltas:
            await client.submit("ingress", Job("own", chat(mood="ignored by it")))
            await client.submit("ingress", Job("other", chat("{role} ({mood}): {content}", mood="glad")))
            texts, _ = await collect(deltas, 2)
            assert texts == {"own": "hi", "other": "user (glad): hi"}
            with pytest.raises(InvalidJobError, match="refused the messages") as caught:
                await client.submit("ingress", Job("bad", chat("{unknown}")))
            assert caught.value.param == "messages"

    run(test)


@pytest.mark.parametrize("name", ["tokenize", "add_generation_prompt", "chat_template", "conversation", "return_dict"])
def test_a_template_variable_that_is_none_is_refused(run, name):
    async def test(world):
        async with engine(world) as client, reading(client):
            with pytest.raises(InvalidJobError, match=name) as caught:
                await client.submit("ingress", Job("a", chat(**{name: True})))
            assert caught.value.param == "chat_template_kwargs"

    run(test)


def test_an_engine_tells_what_it_does_and_takes(run):
    async def test(world):
        async with engine(world, "endless", batch=1) as client, reading(client) as deltas:
            before = await client.usage()
            assert (before.in_flight, before.idle_seconds, before.ready_seconds) == (0, 0, 0)  # not loaded
            assert before.memory_bytes >= 10_000_000
            await client.load()
            loaded = await client.usage()
            later = await client.usage()
            assert 0 < loaded.idle_seconds < later.idle_seconds
            assert 0 < loaded.ready_seconds < later.ready_seconds
            await client.submit("ingress", job("la", "runs"))
            await client.submit("ingress", job("la", "waits", n=2))
            await anext(deltas)
            usage = await client.usage()
            assert (usage.in_flight, usage.idle_seconds) == (2, 0)
            before = monotonic()
            await client.abort(["runs", "waits"])
            usage = await client.usage()
            assert usage.in_flight == 0
            assert 0 < usage.idle_seconds < monotonic() - before  # since the last one ended

    run(test)


def test_a_job_that_is_refused_is_not_in_flight(run):
    async def test(world):
        async with engine(world) as client, reading(client):
            for refused in (job(""), job("x" * CONTEXT)):
                with pytest.raises(InvalidJobError):
                    await client.submit("ingress", refused)
            assert (await client.usage()).in_flight == 0
            await client.idle()

    run(test)


@asynccontextmanager
async def listening(deltas):
    """Have a consumer wait for more, as an ingress always does."""
    more = asyncio.create_task(anext(deltas))
    try:
        yield
    finally:
        more.cancel()
        await asyncio.wait([more])


def test_a_retired_engine_takes_no_more_and_finishes_what_it_has(run):
    async def test(world):
        async with engine(world, "endless") as client, reading(client) as deltas:
            await client.submit("ingress", job("la", "taken", max_tokens=40))
            assert not await client.retire(only_if_idle=True)
            await client.submit("ingress", job("la", "too", max_tokens=2))  # nothing has changed
            assert not (await client.usage()).is_retired
            assert await client.retire()
            assert (await client.usage()).is_retired
            with pytest.raises(EngineError, match="no more"):
                await client.submit("ingress", job("la"))
            idle = asyncio.create_task(client.idle())
            texts, ends = await collect(deltas, 2)
            assert texts == {"taken": "la" * 20, "too": "la"}
            assert {end.finish_reason for end in ends.values()} == {"length"}
            async with listening(deltas):
                await idle
                assert await client.retire(only_if_idle=True)

    run(test)


def test_an_idle_engine_may_be_retired(run):
    async def test(world):
        async with engine(world) as client, reading(client) as deltas:
            await client.submit("ingress", job("hi", "a"))
            await collect(deltas, 1)
            async with listening(deltas):
                await client.idle()
                assert await client.retire(only_if_idle=True)
                with pytest.raises(EngineError, match="no more"):
                    await client.submit("ingress", job("la"))

    run(test)


def test_an_engine_is_idle_when_its_last_job_has_ended_however_it_did(run):
    async def test(world):
        async with engine(world, "endless") as client, reading(client) as deltas:
            await client.idle()  # nothing has come yet
            await client.submit("ingress", job("la", "late", timeout=0.1))
            await client.submit("ingress", job("la", "left"))
            async with reading(client, "other"):
                await client.submit("other", job("la", "closed"))
                await client.submit("other", job("la", "short", max_tokens=2))
            idle = asyncio.create_task(client.idle())
            _, ends = await collect(deltas, 1)
            assert ends["late"].finish_reason == "timeout"
            assert not idle.done()
            async with listening(deltas):
                await client.abort(["left"])
                await idle
            assert (await client.usage()).in_flight == 0

    run(test)


def test_whoever_waits_for_an_engine_to_be_idle_hears_of_its_death(run):
    async def test(world):
        async with engine(world, "endless") as client, reading(client) as deltas:
            await client.submit("ingress", job("la"))
            await anext(deltas)
            idle = asyncio.create_task(client.idle())
            await asyncio.sleep(0)  # it has been asked
            await world.kill(client)
            with pytest.raises(EngineError):
                await idle
            for call in (client.usage, client.retire):
                with pytest.raises(EngineError):
                    await call()

    run(test)


def test_a_batch_can_be_resized_while_answers_go_on(run):
    async def test(world):
        async with engine(world, "endless", batch=1, queue=1) as client, reading(client) as deltas:
            await client.submit("ingress", job("la", "a"))
            await client.submit("ingress", job("lo", "b"))
            with pytest.raises(QueueFullError):
                await client.submit("ingress", job("le", "c"))
            await client.configure(EngineOptions(2, 2))
            await client.submit("ingress", job("le", "c", max_tokens=2))
            while (await anext(deltas)).request_id != "b":  # beside "a", which has no end
                pass
            await client.configure(EngineOptions(1, 1))
            with pytest.raises(QueueFullError):
                await client.submit("ingress", job("li"))
            await client.abort(["a"])
            seen = [(await anext(deltas)).request_id for _ in range(20)]
            assert "c" not in seen  # "b" goes on, and the batch holds no more
            await client.abort(["b"])
            _, ends = await collect(deltas, 1)
            assert list(ends) == ["c"]

    run(test)


def test_changed_options_hold_from_the_load_on_and_are_told_to_whoever_finds_the_engine(run):
    async def test(world):
        async with engine(world, "endless", batch=1) as client:
            await client.configure(EngineOptions(2, 5, kv_cache_bytes=7, trust_remote_code=True))
            info = await client.load()
            (spec,) = [spec for spec, _ in await world.host.running() if spec.engine_id == info.engine_id]
            assert spec.options == EngineOptions(2, 5)  # the others need a reload
            async with reading(client) as deltas:
                await client.submit("ingress", job("la", "a"))
                await client.submit("ingress", job("lo", "b", max_tokens=2))
                _, ends = await collect(deltas, 1)
                assert list(ends) == ["b"]

    run(test)


def test_a_batch_for_nobody_is_refused(run):
    async def test(world):
        async with engine(world) as client, reading(client) as deltas:
            with pytest.raises(InvalidSettingError):
                await client.configure(EngineOptions(max_concurrent_requests=0))
            await client.submit("ingress", job("hi", "a"))
            assert (await collect(deltas, 1))[0] == {"a": "hi"}

    run(test)


@pytest.mark.parametrize("type_", [ModelType.LLM, ModelType.EMBEDDING])
def test_a_model_s_folder_is_seen_to_be_in_use_until_its_engine_ends(run, tmp_path, type_):
    def is_free():
        with alone(tmp_path) as free:
            return free

    async def test(world):
        async with engine(world, path=tmp_path, type=type_) as client:
            await client.load()
            assert not is_free()
        for _ in range(1000):  # a process that is killed takes a moment to end
            if is_free():
                return
            await asyncio.sleep(0.01)
        raise AssertionError("its folder stays in use")

    run(test)
