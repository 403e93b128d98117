"""The run over many models tells whole answers from others, and finds the processes of a session."""

import os
import subprocess
import sys

import pytest

from benchmarks.many_models import is_whole, processes, resident_bytes


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


def test_the_processes_of_a_session_are_found_by_name_or_environment():
    wait = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with (
        subprocess.Popen([*wait, "omlx-7-named"], stdin=subprocess.PIPE) as named,
        subprocess.Popen(wait, stdin=subprocess.PIPE, env={**os.environ, "SESSION": "omlx-7-known"}) as known,
        subprocess.Popen(wait, stdin=subprocess.PIPE) as other,
    ):
        found = {pid for pid, _ in processes("omlx-7-")}
        assert {named.pid, known.pid} <= found
        assert other.pid not in found
        assert resident_bytes(named.pid) > 0
        for process in (named, known, other):
            process.communicate(timeout=10)
    assert resident_bytes(named.pid) == 0
