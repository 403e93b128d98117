"""Only what is whole and could be called is a call; whatever else a parser makes of a text is none."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.engine.answer_format import CallFormat
from actors.engine.tool_calls import CallReader, JsonEnd, UnreadableCallError

TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {}}}]


def read(parsed, text="", **written):
    """The calls of a text of which a parser makes something."""

    def parse(given, tools):
        assert tools == TOOLS
        if isinstance(parsed, Exception):
            raise parsed
        return given if parsed is None else parsed

    return CallReader(TOOLS).read(CallFormat("<a>", "</a>", parse, **written), text)


def test_a_call_has_a_name_and_arguments_as_text():
    (call,) = read({"name": "f", "arguments": {"é": [1, None, {"x": True}]}})
    assert (call.name, call.arguments, call.number) == ("f", '{"é": [1, null, {"x": true}]}', 0)


@pytest.mark.parametrize(
    ("parsed", "arguments"),
    [
        ({"name": "f"}, "{}"),
        ({"name": "f", "arguments": '{"x": 1}'}, '{"x": 1}'),
        ({"name": "f", "parameters": {"x": 1}}, '{"x": 1}'),
        ({"name": "f", "arguments": {"raw": "x"}}, '{"raw": "x"}'),
        ({"name": "other", "arguments": {"x": 1}}, '{"x": 1}'),
        ({"name": "f", "arguments": {"x": "\ud83d"}}, '{"x": "\\ud83d"}'),
        ({"name": "f", "arguments": {"x": (1, 2)}}, '{"x": [1, 2]}'),
    ],
)
def test_what_parsers_give_becomes_a_json_object(parsed, arguments):
    (call,) = read(parsed)
    assert call.arguments == arguments
    call.arguments.encode()  # it can be sent


def test_several_calls_keep_the_ids_that_the_model_gave_them():
    calls = read([{"name": "f", "id": "functions.f:0"}, {"name": "f", "id": 7}, {"name": "f", "id": ""}])
    assert calls[0].call_id == "functions.f:0"
    assert len({call.call_id for call in calls[1:]} - {"", 7}) == 2
    assert [call.number for call in calls] == [0, 1, 2]


@pytest.mark.parametrize(
    "parsed",
    [
        [],
        "f",
        ["f"],
        {"arguments": {}},
        {"name": ""},
        {"name": 5},
        {"name": "a\nb"},
        {"name": "\ud83d"},
        {"name": "f", "arguments": [1]},
        {"name": "f", "arguments": "x"},
        {"name": "f", "arguments": {"x": {1}}},
        {"name": "f", "arguments": {"x": math.nan}},
        {"name": "unknown", "arguments": {"raw": "some text"}},
        {"name": "some", "arguments": {}},
        ValueError("no"),
        KeyError("name"),
        AttributeError("group"),
        RecursionError(),
    ],
    ids=repr,
)
def test_what_could_not_be_called_is_no_call(parsed):
    with pytest.raises(UnreadableCallError):
        read(parsed)


def test_a_call_that_breaks_off_within_an_argument_is_no_call():
    whole = "f<arg_key>x</arg_key><arg_value>1</arg_value>\n"
    assert read({"name": "f"}, whole)
    with pytest.raises(UnreadableCallError, match="argument"):
        read({"name": "f"}, f"{whole}<arg_key>y</arg_key><arg_value>2")


def test_a_parser_may_want_the_marks_too():
    seen = []
    CallReader(TOOLS).read(CallFormat("<a>", "</a>", lambda text, _: seen.append(text) or {"name": "f"}, keeps_marks=True), "x")
    assert seen == ["<a>x</a>"]


values = st.recursive(st.none() | st.integers() | st.text('ab"\\{}[]', max_size=5), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('k"{', max_size=3), inner, max_size=3), max_leaves=6)  # fmt: skip


@given(
    st.dictionaries(st.text("k", max_size=2), values, max_size=3),
    st.sampled_from(["", " ", "name", "f[ARGS]"]),
    st.text('}]" ', max_size=3),
)
def test_the_end_of_json_is_found_when_it_comes(value, before, after):
    text, end = f"{before}{json.dumps(value)}{after}", len(before) + len(json.dumps(value))
    finder = JsonEnd()
    found = [finder.find(text[:count]) for count in range(end)]
    assert (found, finder.find(text)) == ([None] * end, end)
    assert JsonEnd().find(text) == end


def test_a_list_of_objects_is_one_value():
    assert JsonEnd().find('[ {"a": 1}, {}] b') == 15
    assert JsonEnd().find("[ARGS] [1] [") is None
    finder = JsonEnd()
    assert [finder.find(text) for text in ("x [", "x [ ", "x [ {", "x [ {}", "x [ {}]")] == [None] * 4 + [7]
