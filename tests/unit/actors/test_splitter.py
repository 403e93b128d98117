"""An answer is split into reasoning, text and calls, however it is cut, and no word of it is lost."""

import json
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.engine.answer_format import AnswerFormat, CallFormat, Kind, Mark, Stretch, tagged_format
from actors.engine.splitter import Said, Splitter, joined
from actors.engine.tool_calls import CallReader
from tests.fakes.model import TAGGED, json_call

TOOLS = [{"type": "function", "function": {"name": name, "parameters": {}}} for name in ("f", "g")]
OPEN_ENDED = tagged_format(("<think>", "</think>"), [CallFormat("[TOOL_CALLS]", "", json_call)])
STAGED = AnswerFormat(
    {
        "header": Stretch(Kind.HEADER, (Mark("to=self:", "reasoning"), Mark("to=user:", "text"), Mark("to=functions.", "call"))),
        "reasoning": Stretch(Kind.REASONING, (Mark("<end>", "header"),)),
        "text": Stretch(Kind.TEXT, (Mark("<end>", "header"),)),
        "call": Stretch(Kind.CALL),
    },
    {"call": CallFormat(" to=functions.", "", json_call)},
    "header",
)
F, G = '{"name": "f", "arguments": {"x": 1}}', '{"name": "g", "arguments": {"y": "a {b}"}}'
CALL_F, CALL_G = f"<tool_call>\n{F}\n</tool_call>", f"<tool_call>{G}</tool_call>"


def split(*pieces, written=TAGGED, opened=None, tools=TOOLS, is_whole=True, **options):
    """What is said, in as few as keep the order, and the splitter."""
    splitter = Splitter(written, opened, CallReader(tools) if tools else None, **options)
    said = [each for piece in pieces for each in splitter.add(piece)]
    return joined([*said, *splitter.finish(is_whole=is_whole)]), splitter


def shown(*pieces, **options):
    """The same with calls as (name, arguments), and without empty parts."""
    parts = []
    for said in split(*pieces, **options)[0]:
        parts += [("reasoning", said.reasoning)] if said.reasoning else []
        parts += [("text", said.text)] if said.text else []
        parts += [(call.name, json.loads(call.arguments)) for call in said.calls]
    return parts


@pytest.mark.parametrize(
    ("answer", "parts"),
    [
        ("Hello.\n", [("text", "Hello.\n")]),
        ("<think>\nHm.\n</think>\n\nHello.", [("reasoning", "Hm."), ("text", "Hello.")]),
        ("\n<think>\n\n</think>\n\nHello.", [("text", "Hello.")]),
        (CALL_F, [("f", {"x": 1})]),
        (f"Look:\n{CALL_F}\n{CALL_G}\n", [("text", "Look:"), ("f", {"x": 1}), ("g", {"y": "a {b}"})]),
        (f"A\n{CALL_F}\n\nB ", [("text", "A"), ("f", {"x": 1}), ("text", "\n\n\nB")]),
        (f"<think>Hm.</think>\n{CALL_F}", [("reasoning", "Hm."), ("f", {"x": 1})]),
        (f"<think>Hm.\n{CALL_F}", [("reasoning", "Hm."), ("f", {"x": 1})]),
        (f"<think>A</think>{CALL_F}<think>B</think>C", [("reasoning", "A"), ("f", {"x": 1}), ("reasoning", "B"), ("text", "C")]),
    ],
)
def test_answers_fall_into_their_parts_without_the_space_around_marks(answer, parts):
    assert shown(answer) == parts


def test_calls_are_numbered_and_have_ids_of_their_own():
    said, splitter = split(CALL_F, CALL_F, CALL_G)
    calls = [call for each in said for call in each.calls]
    assert [call.number for call in calls] == [0, 1, 2]
    assert len({call.call_id for call in calls}) == 3
    assert all(re.fullmatch("[A-Za-z0-9]{9}", call.call_id) for call in calls)
    assert splitter.has_called


def test_what_can_be_told_is_told_at_once():
    splitter = Splitter(TAGGED, None, CallReader(TOOLS))
    assert splitter.add("<think>Hm") == [Said("Hm")]
    assert splitter.add(" <") == []
    assert splitter.add("b>") == [Said(" <b>")]
    assert splitter.add("</think>Hi <to") == [Said("", "Hi")]
    assert splitter.add("p>") == [Said("", " <top>")]
    assert splitter.add(f"<tool_call>{F}</tool_call") == []
    (said,) = splitter.add(">")
    assert said.calls[0].name == "f"


def test_text_alone_waits_for_nothing():
    splitter = Splitter(TAGGED)
    said = [splitter.add(piece) for piece in ("Hi", " ", "\n", "<tool_call>")]
    assert said == [[Said(text=piece)] for piece in ("Hi", " ", "\n", "<tool_call>")]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (f"<tool_call>{F}", "<tool_call>" + F),  # cut off: even what could be read may lack something
        ("<tool_call>", "<tool_call>"),
        ("A <tool_call>{", "A <tool_call>{"),
        ("<tool_call>{}</tool_call> B", "<tool_call>{}</tool_call> B"),
        ("<tool_ca", "<tool_ca"),
    ],
)
def test_what_is_no_call_is_text(answer, text, caplog):
    assert shown(answer, is_whole=False) == [("text", text)]
    assert ("can't be read" in caplog.text) == ("<tool_call>" in answer)
    assert text not in caplog.text  # what people talk about is nobody's business


def test_a_call_may_end_with_the_answer():
    assert shown(f"<tool_call>{F}") == [("f", {"x": 1})]
    assert shown(f"<tool_call>{F[:-1]}") == [("text", f"<tool_call>{F[:-1]}")]


def test_what_ends_a_call_may_stand_in_an_argument():
    tricky = {"name": "f", "arguments": {"text": "<tool_call>a</tool_call> </tool_call> </think>"}}
    assert shown(f"<tool_call>{json.dumps(tricky)}</tool_call>") == [("f", tricky["arguments"])]


def test_a_call_after_one_that_can_not_be_read_is_still_one():
    assert shown(f"<tool_call>no</tool_call>{CALL_F}") == [("text", "<tool_call>no</tool_call>"), ("f", {"x": 1})]


def test_reasoning_may_speak_of_calls():
    answer = f"<think>Shall I <tool_call>? No.</think>Hello {CALL_F}"
    assert shown(answer) == [("reasoning", "Shall I <tool_call>? No."), ("text", "Hello"), ("f", {"x": 1})]
    splitter = Splitter(TAGGED, None, CallReader(TOOLS))
    said = [each for piece in ("<think>A <tool_call> B", "</think>C") for each in splitter.add(piece)]
    assert joined(said) == [Said("A <tool_call> B", "C")]  # it didn't wait for the answer's end


def test_text_may_speak_of_reasoning():
    assert shown("Write <think> before and </think> after.") == [("text", "Write <think> before and </think> after.")]


def test_without_tools_calls_are_text():
    assert shown(f"<think>A</think>{CALL_F} B\n", tools=()) == [("reasoning", "A"), ("text", f"{CALL_F} B\n")]


def test_a_prompt_may_open_the_reasoning_or_a_call():
    assert shown("\nHm.</think>\n\nHello.", opened="reasoning") == [("reasoning", "Hm."), ("text", "Hello.")]
    assert shown(f"\n{F}\n</tool_call>", opened="call") == [("f", {"x": 1})]
    assert shown("No.", opened="call") == [("text", "<tool_call>No.")]
    assert shown(f"{F}</tool_call>{CALL_G}", opened="call") == [("f", {"x": 1}), ("g", {"y": "a {b}"})]


def test_one_call_may_be_all():
    said, splitter = split(f"A {CALL_F}{CALL_G} B", one_call=True)
    assert [(each.text, len(each.calls)) for each in said] == [("A", 1)]
    assert splitter.is_over
    assert split("A", one_call=True)[1].is_over is False


def test_the_present_stretch_is_known():
    splitter = Splitter(TAGGED, None, CallReader(TOOLS))
    stretches = []
    for piece in ("<think>", "Hm", "<tool_call>", F, "</tool_call>", "</think>", "Hi"):
        splitter.add(piece)
        stretches.append(splitter.is_reasoning)
    assert stretches == [True, True, False, False, True, False, False]


@pytest.mark.parametrize(
    ("answer", "parts"),
    [
        (f"[TOOL_CALLS]{F}\nDone.", [("f", {"x": 1}), ("text", "Done.")]),
        (f"A[TOOL_CALLS] {G}[TOOL_CALLS]{F}", [("text", "A"), ("g", {"y": "a {b}"}), ("f", {"x": 1})]),
        (f"[TOOL_CALLS][{F}, {G}] B", [("f", {"x": 1}), ("g", {"y": "a {b}"}), ("text", "B")]),
        ("[TOOL_CALLS]{} B", [("text", "[TOOL_CALLS]{} B")]),
        ('[TOOL_CALLS]{"name": "}', [("text", '[TOOL_CALLS]{"name": "}')]),
        ("[TOOL_CALLS] nothing", [("text", "[TOOL_CALLS] nothing")]),
    ],
)
def test_a_call_without_an_end_of_its_own_ends_with_its_json(answer, parts):
    assert shown(answer, written=OPEN_ENDED) == parts


@pytest.mark.parametrize(
    ("answer", "parts"),
    [
        ("x to=self:Hm.<end>y to=user: Hello.", [("reasoning", "Hm."), ("text", "Hello.")]),
        (f"to=self:Hm.<end> to=functions.{F}", [("reasoning", "Hm."), ("f", {"x": 1})]),
        ("to=functions.{}", [("text", "to=functions.{}")]),
        ("Nothing of that kind.", [("text", "Nothing of that kind.")]),
        ("to=user:Hi<end>to", [("text", "Hi")]),
    ],
)
def test_turns_may_be_made_of_messages_with_headers(answer, parts):
    assert shown(answer, written=STAGED) == parts


MARKS = ("<think>", "</think>", "<tool_call>", "</tool_call>")
ATOMS = st.sampled_from((*MARKS, CALL_F, CALL_G, F, "<think>Hm.</think>\n", "[TOOL_CALLS]", "to=user:", "to=self:", "to=functions.", "<end>", "<tool_call>no</tool_call>", "<", "<t", "</", "{", "}", "[", '"', "\\", "words", " ", "\n"))  # fmt: skip
ANSWERS = st.lists(ATOMS, max_size=14).map("".join)
FORMATS = {"tagged": TAGGED, "open-ended": OPEN_ENDED, "staged": STAGED}


def without_ids(said):
    return [(each.reasoning, each.text, [(call.name, call.arguments, call.number) for call in each.calls]) for each in said]


@pytest.mark.parametrize("name", FORMATS)
@given(ANSWERS, st.lists(st.integers(0, 200), max_size=8), st.booleans(), st.booleans(), st.booleans())
def test_however_an_answer_is_cut_the_same_is_said(name, answer, cuts, calls, opened, is_whole):
    options = {
        "written": FORMATS[name],
        "tools": TOOLS if calls else (),
        "opened": "reasoning" if opened else None,
        "is_whole": is_whole,
    }
    places = [0, *sorted(min(cut, len(answer)) for cut in cuts), len(answer)]
    whole = without_ids(split(answer, **options)[0])
    assert without_ids(split(*(answer[start:stop] for start, stop in pairwise(places)), **options)[0]) == whole
    assert without_ids(split(*answer, **options)[0]) == whole


@given(ANSWERS, st.booleans(), st.booleans())
def test_no_word_is_lost(answer, calls, is_whole):
    said = split(*answer, tools=TOOLS if calls else (), is_whole=is_whole)[0]
    spelled = {"f": F, "g": G}
    told = "".join(each.reasoning + each.text + "".join(spelled[call.name] for call in each.calls) for each in said)
    assert words(told) == words(answer)


def words(text):
    return re.sub("|".join((r"\s+", *MARKS)), "", text)
