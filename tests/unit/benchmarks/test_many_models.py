"""The run over many models tells whole answers from others, and which processes are left."""

import os
import subprocess
import sys

import pytest

from benchmarks.many_models import is_turned_away, is_whole, left, resident_bytes, title
from benchmarks.peers import family


@pytest.mark.parametrize(
    ("status", "body", "stream", "whole"),
    [
        (200, b'data: {"choices": []}\n\ndata: [DONE]\n\n', True, True),
        (200, b'data: {"choices": []}\n\n', True, False),
        (200, b'data: {"error": {}}\n\ndata: [DONE]\n\n', True, False),
        (200, b'{"choices": [{"finish_reason": "stop"}]}', False, True),
        (200, b'{"choices": []}', False, False),
        (503, b'{"choices": [{"finish_reason": "stop"}]}', False, False),
    ],
)
def test_a_whole_answer_has_its_end(status, body, stream, whole):
    assert is_whole(status, body, stream=stream) is whole


def test_no_room_may_be_said_by_the_status_or_within_a_stream():
    assert is_turned_away(507, b"")
    assert is_turned_away(200, b': loading\n\ndata: {"error":{"code":"insufficient_memory"}}\n\n')
    assert not is_turned_away(200, b'data: {"error":{"code":"engine_died"}}\n\n')
    assert not is_turned_away(503, b"")


def test_processes_that_outlive_their_server_are_named(monkeypatch):
    monkeypatch.setattr("benchmarks.many_models._GONE_SECONDS", 0.0)
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()", "stays"], stdin=subprocess.PIPE) as process:
        assert process.pid in family(os.getpid())
        seen = {process.pid: title(process.pid), os.getppid(): "has become another process"}
        assert resident_bytes(process.pid) > 0
        assert left(seen) == [seen[process.pid]]
        process.communicate(timeout=10)
    assert left(seen) == []
    assert (title(process.pid), resident_bytes(process.pid)) == ("", 0)
