"""Tokens become what is said: special ones where they are marks, stop texts in the text alone."""

import pytest
from tokenizers import AddedToken

from actors.engine.answer_format import CallFormat, tagged_format
from actors.engine.answer_text import AnswerText
from actors.engine.splitter import Splitter, joined
from actors.engine.tool_calls import CallReader
from tests.fakes.model import END, TAGGED, ByteTokenizer, json_call

F = '{"name": "f", "arguments": {}}'
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {}}}]


class SpecialTokenizer(ByteTokenizer):
    """Has special tokens after its bytes, which a text shows only if it is asked to."""

    SPECIAL = ("[TOOL_CALLS]", "[ARGS]", "<|im_start|>", "<|channel>", "<channel|>")

    @property
    def added_tokens_decoder(self):
        return {END + 1 + number: AddedToken(text, special=True) for number, text in enumerate(self.SPECIAL)}


def tokens(*pieces):
    special = SpecialTokenizer.SPECIAL
    return [token for piece in pieces for token in ([END + 1 + special.index(piece)] if piece in special else piece.encode())]


def args_call(text, _tools):
    name, _, arguments = text.partition("[ARGS]")
    return json_call(f'{{"name": "{name}", "arguments": {arguments}}}', _tools)


SPECIAL = tagged_format(("<|channel>thought", "<channel|>"), [CallFormat("[TOOL_CALLS]", "", args_call)])


def answered(*pieces, stop=(), written=SPECIAL, tools=TOOLS, **options):
    """What is said, with calls by name, and the answer."""
    answer = AnswerText(
        SpecialTokenizer(), stop, splitter=Splitter(written, None, CallReader(tools) if tools else None, **options)
    )
    said = []
    for token in tokens(*pieces):
        said += answer.add(token)
        if answer.stopped:
            break
    else:
        said += answer.finish()
    return [(each.reasoning, each.text, [call.name for call in each.calls]) for each in joined(said)], answer


def test_special_tokens_are_marks_or_nothing():
    said, answer = answered(
        "<|channel>", "thought\nHm.", "<channel|>", "Hé<|im", "<|im_start|>", "!", "[TOOL_CALLS]", "f", "[ARGS]", "{}"
    )
    assert said == [("Hm.", "Hé<|im!", ["f"])]
    assert answer.has_called


def test_without_tools_the_special_tokens_of_calls_are_nothing():
    assert answered("A", "[TOOL_CALLS]", "f", "[ARGS]", "{}", tools=())[0] == [("", "Af{}", [])]


def test_the_special_tokens_of_what_is_no_call_are_shown():
    assert answered("[TOOL_CALLS]", "f", "[ARGS]", "{")[0] == [("", "[TOOL_CALLS]f[ARGS]{", [])]


@pytest.mark.parametrize(
    ("text", "said", "stop_text"),
    [
        ("<think>STOP</think>a STOP b", [("STOP", "a", [])], "STOP"),
        (f"<think>x</think>ST<tool_call>{F}</tool_call>OP", [("x", "ST", ["f"]), ("", "OP", [])], ""),
        (f"a STOP<tool_call>{F}</tool_call>", [("", "a", [])], "STOP"),
        ('<tool_call>{"name": "f", "arguments": {"x": "STOP"}}</tool_call>', [("", "", ["f"])], ""),
        ("a ST", [("", "a ST", [])], ""),
    ],
)
def test_stop_texts_end_the_text_and_nothing_else(text, said, stop_text):
    shown, answer = answered(text, stop=["STOP"], written=TAGGED)
    assert [(reasoning, words.rstrip(), calls) for reasoning, words, calls in shown] == said
    assert (answer.stop_text, answer.stopped) == (stop_text, bool(stop_text))
    assert answer.has_called == any(calls for *_, calls in said)


def test_the_only_call_stops_the_answer():
    shown, answer = answered(f"a<tool_call>{F}</tool_call>b", written=TAGGED, one_call=True)
    assert (shown, answer.stopped, answer.stop_text) == ([("", "a", ["f"])], True, "")


def test_a_call_that_was_cut_off_is_none():
    answer = AnswerText(ByteTokenizer(), (), splitter=Splitter(TAGGED, None, CallReader(TOOLS)))
    said = [each for byte in f"<tool_call>{F}".encode() for each in answer.add(byte)]
    assert "".join(each.text for each in [*said, *answer.finish(is_whole=False)]) == f"<tool_call>{F}"
