"""The soak tells a right answer from a wrong one, and what is left behind from what was there before."""

from dataclasses import replace

import pytest

from benchmarks.soak import KV_BYTES, MORE_BYTES, Held, Reading, Reply, Tally, Visit, judge, left_behind

HELD = Held(bytes=100 << 20, files=30, threads=20)
QUIET = Reading(0, 0, 0, 1000, 0, 5, 3, 40, HELD, HELD)
STREAM = Visit("stream", b"", is_stream=True)
WHOLE = Visit("whole", b"", choices=2)


def reply(status, body, headers=""):
    return Reply(bytearray(f"HTTP/1.1 {status} Some\r\n{headers}\r\n".encode() + body))


def chunked(*pieces):
    parts = [f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in (*pieces, b"")]
    return reply(200, b"".join(parts), "transfer-encoding: chunked\r\n")


@pytest.mark.parametrize(
    ("visit", "answer", "outcome"),
    [
        (STREAM, chunked(b"data: {}\n\n", b"data: [DONE]\n\n"), "ended"),
        (WHOLE, reply(200, b'{"choices": [1, 2]}'), "ended"),
        (WHOLE, reply(429, b"", "retry-after: 3\r\n"), "refused"),
        (Visit("nonsense", b"", 400), reply(400, b'{"error": {}}'), "ended"),
        (Visit("limited", b"", may_time_out=True), reply(504, b'"request_timeout"'), "timed out"),
        (Visit("limited", b"", may_time_out=True), chunked(b'data: {"code": "request_timeout"}\n\n'), "timed out"),
        (Visit("leaves", b"", seconds=0.1), Reply(left=True), "left"),
        (Visit("leaves", b"", events=3, is_stream=True), Reply(left=True), "left"),
    ],
)
def test_what_becomes_of_a_visit(visit, answer, outcome):
    assert judge(visit, answer) == (outcome, None)


@pytest.mark.parametrize(
    ("visit", "answer", "wrong"),
    [
        (STREAM, chunked(b"data: {}\n\n"), "has no end"),
        (STREAM, Reply(), "status is 0"),
        (STREAM, Reply(left=True), "did not get its answer"),
        (WHOLE, reply(200, b'{"choices": [1]}'), "choices are missing"),
        (WHOLE, reply(200, b'{"cho'), "no JSON"),
        (WHOLE, reply(500, b"{}"), "status is 500"),
        (WHOLE, reply(504, b'"request_timeout"'), "status is 504"),
        (WHOLE, reply(429, b""), "when to come back"),
        (Visit("nonsense", b"", 400), reply(400, b"oops"), "not told why"),
        (Visit("nonsense", b"", 400), reply(200, b'{"choices": [1]}'), "status is 200"),
    ],
)
def test_what_should_not_happen_is_told(visit, answer, wrong):
    tally = Tally()
    tally.add(7, visit, answer)
    (line,) = tally.wrong
    assert wrong in line
    assert tally.clients == {7}


def test_a_reply_says_when_to_come_back():
    assert reply(429, b"", "retry-after: 12\r\n").retry_after == 12


def test_nothing_is_left_behind_when_all_is_as_it_was():
    grown = replace(HELD, bytes=HELD.bytes + MORE_BYTES)
    assert left_behind(QUIET, replace(QUIET, prefix_bytes=KV_BYTES, preemptions=9, tasks=4, engine=grown)) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"running": 1}, "running: 1"),
        ({"waiting": 2}, "waiting: 2"),
        ({"kv_bytes": 3}, "KV: 3"),
        ({"in_flight": 1}, "in flight: 1"),
        ({"prefix_bytes": KV_BYTES + 1}, "kept KV"),
        ({"tasks": 6}, "tasks in the server: 6, 5 before"),
        ({"server": replace(HELD, files=40)}, "open files of the server: 40"),
        ({"engine": replace(HELD, threads=40)}, "threads of the engine: 40"),
        ({"engine": replace(HELD, bytes=HELD.bytes + MORE_BYTES + 1)}, "bytes of the engine"),
    ],
)
def test_whatever_is_more_than_before_is_named(change, says):
    (line,) = left_behind(QUIET, replace(QUIET, **change))
    assert says in line
