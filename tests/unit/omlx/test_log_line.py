"""What was logged is read back from its line, in both formats."""

import logging
import sys
from datetime import UTC, datetime

import pytest

from actors.log_lines import line_format
from omlx.log_line import LEVELS, finished, parse_rows

OWN = f"req_{'0f' * 16}"


def written(message, format_, level="info", *, failed=None, **fields):
    """The rows of a line as our processes write it."""
    record = logging.LogRecord("omlx", getattr(logging, level.upper()), "", 1, message, (), failed)
    vars(record).update(created=1_700_000_000.25, msecs=250.0, **fields)
    return line_format(format_).format(record).split("\n")


def failure():
    try:
        raise KeyError("what")
    except KeyError:
        return sys.exc_info()


@pytest.mark.parametrize("format_", ["text", "json"])
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("message", ["loading tiny", "", "a\nb  c\u2028\x1b[31m", '{"time": 1}', "GET /x is no id"])
def test_a_line_is_read_as_it_was_meant(format_, level, message):
    (line,) = parse_rows(written(message, format_, level), "catalog")
    assert (line.level, line.source) == (level, "catalog")
    assert line.message == (message if format_ == "json" else message.encode("unicode_escape").decode())
    assert line.time == datetime.fromtimestamp(1_700_000_000.25, UTC)
    assert (line.request_id, line.exception) == (None, None)


@pytest.mark.parametrize(
    ("format_", "request_id", "message"),
    [
        ("text", OWN, "it failed"),
        ("text", "order/47:11", "POST /v1/chat/completions 200"),
        ("json", "order/47:11", "it failed"),
    ],
)
def test_the_request_is_told_from_the_message(format_, request_id, message):
    (line,) = parse_rows(written(message, format_, request_id=request_id), "server")
    assert (line.request_id, line.message) == (request_id, message)


@pytest.mark.parametrize("format_", ["text", "json"])
def test_a_traceback_belongs_to_its_line(format_):
    rows = [*written("it failed", format_, "error", failed=failure()), *written("on", format_)]
    failed, after = parse_rows(rows, "server")
    assert failed.message == "it failed"
    assert failed.exception.startswith("Traceback (most recent call last):\n  File ")
    assert failed.exception.endswith("KeyError: 'what'")
    assert after.exception is None


def test_what_is_less_severe_is_left_out_with_what_stands_below_it():
    rows = [*written("a", "text", failed=failure()), *written("b", "json", "warning"), *written("c", "text", "error"), "    why"]
    assert [(line.message, line.exception) for line in parse_rows(rows, "server", "warning")] == [("b", None), ("c", "why")]


@pytest.mark.parametrize(
    "row",
    [
        "nonsense",
        "",
        "{",
        '{"level": "info"}',
        '{"time": "today", "level": "info", "message": "x"}',
        '{"time": "2026-11-23T14:03:11.482Z", "level": "loud", "message": "x"}',
        '{"time": "2026-11-23T14:03:11.482Z", "level": [], "message": "x"}',
        "2026-13-23 14:03:11,482 INFO    no such month",
        "2026-11-23 14:03:11,482 LOUD    no such level",
        "\ufffd\ufffd",
    ],
)
def test_what_is_no_line_goes_to_the_one_above_or_nowhere(row):
    assert parse_rows([row], "server") == []
    (line,) = parse_rows([*written("it", "text"), row], "server")
    assert (line.message, line.exception) == ("it", row or None)


def test_only_what_a_later_row_could_belong_to_is_unfinished():
    text, json = written("it", "text"), written("it", "json")
    assert finished([]) == 0
    assert finished([*text, *text]) == 1
    assert finished([*json, *text, "    below", "    below"]) == 1
    assert finished([*text, *json]) == 2
    assert finished(["    below"]) == 1
