"""The client measures what a server streams, and failures too."""

import asyncio

import orjson
import pytest

from benchmarks.client import Measured, Recording, chat, closed_loop, open_loop
from benchmarks.workloads import Prompt

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
WORD = b'data: {"choices": [{"delta": {"content": "word"}}]}\n\n'
USAGE = (
    b'data: {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2, '
    b'"prompt_tokens_details": {"cached_tokens": 1}}}\n\n'
)
DONE = b"data: [DONE]\n\n"


def chunked(*chunks):
    return (
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))
    )


def recorded(data, size, error=None):
    """The bytes as they come by pieces of one size, a second apart."""
    pieces = [(1.0 + at // size, data[at : at + size]) for at in range(0, len(data), size)]
    return Recording(0.5, pieces, done=100.0, error=error).read()


@pytest.mark.parametrize("data", [chunked(WORD, b": keepalive\n\n", WORD, USAGE, DONE), HEAD + b"\r\n" + WORD * 2 + USAGE + DONE])
@pytest.mark.parametrize("size", [1, 7, 60, 100, 1000])
def test_an_answer_is_its_text_and_its_usage_however_it_comes(data, size):
    measured = recorded(data, size)
    assert (measured.text, measured.prompt_tokens, measured.completion_tokens, measured.cached_tokens) == ("wordword", 3, 2, 1)
    assert measured.error is None
    assert (measured.sent, measured.done, measured.seconds) == (0.5, 100.0, 99.5)


def test_a_chunk_came_when_the_last_of_it_came():
    data = chunked(WORD[:20], WORD[20:], WORD, DONE)
    first = data.index(WORD[20:] + b"\r\n") + len(WORD[20:])
    measured = recorded(data, 1)
    assert measured.arrivals[0] == pytest.approx(first)
    assert measured.ttft == pytest.approx(first - 0.5)
    assert measured.gaps == [pytest.approx(len(b"\r\n35\r\n") + len(WORD))]
    assert recorded(data, 10_000).arrivals == [1.0, 1.0]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy", "busy"),
        (b"HTTP/1.1 500 Internal Server Error\r\n\r\n", "http/1.1 500 internal server error"),
        (b"", "the server closed the connection"),
        (chunked(WORD, b'data: {"error": {"code": "engine_died"}}\n\n'), "{'code': 'engine_died'}"),
        (chunked(WORD), "the stream ended early"),
        (chunked(WORD, WORD)[:-30], "the stream ended early"),
    ],
)
def test_failures_are_measured(data, error):
    assert recorded(data, 50).error == error


def test_what_broke_the_connection_is_said():
    assert recorded(chunked(WORD), 50, error="TimeoutError: ").error == "TimeoutError: "
    assert recorded(b"", 1, error="ConnectionRefusedError: no").error == "ConnectionRefusedError: no"


def test_a_stream_with_usage_is_asked_for_over_http():
    asked = []

    async def answer(reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        asked.append((head.partition("\r\n")[0], orjson.loads(await reader.readexactly(length))))
        for data in (chunked(WORD, WORD, USAGE, DONE)[:100], chunked(WORD, WORD, USAGE, DONE)[100:]):
            writer.write(data)
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def test():
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            return await chat(f"http://127.0.0.1:{port}", {"model": "m"}), port

    measured, port = asyncio.run(test())
    assert (measured.text, measured.error) == ("wordword", None)
    assert 0 <= measured.ttft <= measured.seconds
    assert asked == [
        ("post /v1/chat/completions http/1.1", {"model": "m", "stream": True, "stream_options": {"include_usage": True}})
    ]
    assert asyncio.run(chat(f"http://127.0.0.1:{port}", {})).error.startswith("ConnectionRefusedError: ")


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
