"""The client measures what a server streams, and failures too."""

import asyncio

import httpx
import orjson
import pytest

from benchmarks.client import Measured, chat, closed_loop, open_loop
from benchmarks.workloads import Prompt

WORD = b'data: {"choices": [{"delta": {"content": "word"}}]}\n\n'
USAGE = b'data: {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}\n\n'
DONE = b"data: [DONE]\n\n"


def ask(handler):
    async def test():
        async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as client:
            return await chat(client, "http://server", {"model": "m"})

    return asyncio.run(test())


class Chunks(httpx.AsyncByteStream):
    def __init__(self, *chunks):
        self.chunks = chunks

    async def __aiter__(self):
        for chunk in self.chunks:
            yield chunk


def stream(*chunks):
    return lambda _request: httpx.Response(200, stream=Chunks(*chunks))


def test_an_answer_is_its_text_its_times_and_its_usage():
    measured = ask(stream(WORD, b": keepalive\n\n", WORD[:20], WORD[20:], USAGE, DONE))
    assert (measured.text, measured.prompt_tokens, measured.completion_tokens) == ("wordword", 3, 2)
    assert len(measured.arrivals) == 2
    assert len(measured.gaps) == 1
    assert 0 <= measured.ttft <= measured.seconds
    assert measured.error is None


def test_a_stream_with_usage_is_asked_for():
    asked = []

    def handler(request):
        asked.append(orjson.loads(request.content))
        return httpx.Response(200, stream=Chunks(DONE))

    ask(handler)
    assert asked == [{"model": "m", "stream": True, "stream_options": {"include_usage": True}}]


def refuse(_request):
    raise httpx.ConnectError("nobody is there")


@pytest.mark.parametrize(
    ("handler", "error"),
    [
        (lambda _request: httpx.Response(503, text="busy"), "busy"),
        (stream(WORD, b'data: {"error": {"code": "engine_died"}}\n\n'), "{'code': 'engine_died'}"),
        (stream(WORD), "the stream ended early"),
        (refuse, "ConnectError: nobody is there"),
    ],
)
def test_failures_are_measured(handler, error):
    measured = ask(handler)
    assert measured.error == error
    assert measured.done >= measured.sent


def test_a_closed_loop_keeps_its_clients_busy_until_the_prompts_are_used_up():
    running = most = 0
    prompts = [Prompt(str(number), 1) for number in range(7)]

    async def answer(prompt):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return Measured(0.0, prompt.text)

    answers = asyncio.run(closed_loop(answer, prompts, 3))
    assert sorted(measured.text for measured in answers) == [prompt.text for prompt in prompts]
    assert most == 3


def test_an_open_loop_sends_at_its_times_whatever_became_of_the_others():
    async def answer(prompt):
        sent = asyncio.get_running_loop().time()
        await asyncio.sleep(0.05)
        return Measured(sent, prompt.text)

    answers = asyncio.run(open_loop(answer, [Prompt("first", 1), Prompt("second", 1, at=0.02)]))
    assert [measured.text for measured in answers] == ["first", "second"]
    assert 0.015 <= answers[1].sent - answers[0].sent < 0.05
