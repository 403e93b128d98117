"""A log line stays one line, whatever is logged: for people to read, for programs to parse."""

import json
import logging
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.log_lines import line_format

AT = 1795442591.482


def record(message, *args, severity=logging.INFO, exc_info=None, **extra):
    made = logging.getLogger("omlx.tests").makeRecord("omlx.tests", severity, "file.py", 1, message, args, exc_info, extra=extra)
    made.created, made.msecs = AT, 482.0
    return made


def raised(error):
    try:
        raise error
    except type(error):
        return sys.exc_info()


def text(*args, **options):
    return line_format("text", "at").format(record(*args, **options))


def parsed(*args, **options):
    line = line_format("json").format(record(*args, **options))
    assert line.isascii()
    assert len(line.splitlines()) == 1
    return json.loads(line)


def test_text_has_time_level_and_message():
    assert text("loading %s", "echo") == "at INFO    loading echo"
    assert text("no", severity=logging.CRITICAL) == "at CRITICAL no"


def test_text_has_the_request_that_a_line_belongs_to():
    assert text("loading %s", "echo", request_id="req_1") == "at INFO    req_1 loading echo"


def test_in_text_nothing_that_is_logged_begins_a_line_of_its_own_or_steers_a_terminal():
    assert text("no %s", "a\nat INFO    b\r\x1b[2J\u2028\u202e\udc80é") == (
        r"at INFO    no a\nat INFO    b\r\x1b[2J\u2028\u202e\udc80é"
    )


def test_in_text_an_exception_is_below_and_indented_whatever_it_says():
    first, *others = text("failed", exc_info=raised(ValueError("a\nat INFO    b\rc\x1b"))).split("\n")
    assert first == "at INFO    failed"
    assert others[0] == "    Traceback (most recent call last):"
    assert others[-3:] == ["    ValueError: a", "    at INFO    b", "    c\\x1b"]


def test_json_has_the_moment_in_utc_and_where_it_comes_from():
    assert parsed("loading %s", "echo") == {
        "time": "2026-11-23T14:03:11.482Z",
        "level": "info",
        "logger": "omlx.tests",
        "message": "loading echo",
    }


def test_json_keeps_the_types_of_further_fields():
    fields = {
        "request_id": "req_1",
        "status": 200,
        "stream": True,
        "seconds": 0.5,
        "model": None,
        "ids": [1, "a"],
        "more": {"a": 1.5},
    }
    line = parsed("done", **fields)
    assert {name: line[name] for name in fields} == fields
    assert list(line)[:4] == ["time", "level", "logger", "message"]


def test_a_further_field_does_not_replace_what_every_line_has():
    line = parsed("done", time="never", level="none", logger="nobody", exception="yes", exc_info=raised(KeyError("k")))
    assert (line["time"][:4], line["level"], line["logger"]) == ("2026", "info", "omlx.tests")
    assert line["exception"].endswith("KeyError: 'k'")


def test_an_exception_is_one_string():
    assert parsed("failed", exc_info=raised(ValueError("a\nb")))["exception"].splitlines()[-2:] == ["ValueError: a", "b"]
    assert "exception" not in parsed("failed", exc_info=(None, None, None))


def test_what_libraries_add_for_their_own_formatters_is_no_field():
    assert set(parsed("Started", color_message="\x1b[1mStarted", _private=1)) == {"time", "level", "logger", "message"}


class Broken:
    def __str__(self):
        raise RuntimeError


ROUND = []
ROUND.append(ROUND)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("a\n\x00\x85\u2028\x1b", "a\n\x00\x85\u2028\x1b"),
        ("half a \ud83d character", "half a ? character"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (1 << 64, str(1 << 64)),
        (10**5000, "<int>"),  # Python refuses to write it
        (Path("/m"), "/m"),
        (b"\xff", r"b'\xff'"),
        ({("a", 1): {2}}, {"('a', 1)": [2]}),
        (Broken(), "<Broken>"),
        ([Broken()], ["<Broken>"]),
    ],
    ids=range(11),
)
def test_a_value_that_json_does_not_have_is_told_in_words(value, told):
    assert parsed("done", value=value)["value"] == told


def test_what_goes_round_in_circles_ends():
    assert "[...]" in json.dumps(parsed("done", value=ROUND))


@pytest.mark.parametrize("name", ["text", "json"])
def test_a_call_whose_arguments_do_not_fit_is_told_all_the_same(name):
    for call in (record("%d of %d", "one"), record("%s", Broken()), record(Broken())):
        assert line_format(name).format(call)
    assert "%d of %d ('one',)" in line_format(name).format(record("%d of %d", "one"))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=10,
)


@settings(max_examples=200, deadline=None, database=None)
@given(message=st.text(st.characters()), value=values)
def test_nothing_breaks_a_line(message, value):
    assert len(text("%s", message, value=value).splitlines()) == 1
    assert set(parsed("%s", message, value=value)) == {"time", "level", "logger", "message", "value"}
