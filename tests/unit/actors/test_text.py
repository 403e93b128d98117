"""Text comes out whole, whatever the tokens split; stop texts end it wherever they fall."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken

from actors.contracts import ChatPrompt, Job, TextPrompt, TokenPrompt
from actors.engine.answer_text import AnswerText
from actors.engine.text import (
    Detokenizer,
    StopMatcher,
    chat_text,
    check_parameters,
    encode_prompt,
    takes_parts,
    takes_texts,
)  # fmt: skip
from actors.errors import InvalidJobError
from actors.ocr import FAMILIES
from scheduler.sampling import SamplingParams
from tests.fakes.model import END, ByteTokenizer

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufffd"), max_size=40)


@given(texts)
def test_a_character_is_shown_when_its_last_byte_has_come(text):
    detokenizer = Detokenizer(ByteTokenizer())
    pieces = [detokenizer.add(byte) for byte in text.encode()]
    assert "".join(pieces) + detokenizer.flush() == text
    assert all("\ufffd" not in piece for piece in pieces)


def test_a_character_that_never_became_whole_is_left_out():
    detokenizer = Detokenizer(ByteTokenizer())
    shown = "".join(detokenizer.add(byte) for byte in b"ok \xf0\x9f\x98")
    assert shown + detokenizer.flush() == "ok "


def test_decoding_looks_at_a_short_window_only():
    longest = 0

    class Watched(ByteTokenizer):
        def decode(self, token_ids, skip_special_tokens=False):
            nonlocal longest
            longest = max(longest, len(token_ids))
            return super().decode(token_ids, skip_special_tokens)

    detokenizer = Detokenizer(Watched())
    for byte in ("héllo " * 200).encode():
        detokenizer.add(byte)
    assert longest <= 8


def reference(text, stops):
    found = [at for at in (text.find(stop) for stop in stops) if at >= 0]
    return text[: min(found)] if found else text


@given(st.lists(st.text("ab", max_size=3), max_size=12), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
def test_text_ends_before_the_first_stop_text_however_it_is_cut(pieces, stops):
    matcher = StopMatcher(stops)
    shown = taken = ""
    for piece in pieces:
        shown += matcher.add(piece)
        taken += piece
        if matcher.matched:
            break
    assert bool(matcher.matched) == any(stop in taken for stop in stops)
    assert not matcher.matched or matcher.matched in stops
    assert shown + matcher.flush() == reference(taken, stops)


def test_what_may_become_a_stop_text_is_held_back_and_no_more():
    matcher = StopMatcher(["STOP"])
    assert matcher.add("go ST") == "go "
    assert matcher.add("IR") == "STIR"
    assert matcher.add("S") == ""
    assert matcher.flush() == "S"


def test_an_answer_stops_at_a_text_that_comes_over_many_tokens():
    answer = AnswerText(ByteTokenizer(), ["\n\n"])
    said = [each for byte in b"one\ntwo\n\nthree" for each in answer.add(byte)]
    assert ("".join(each.text for each in said), answer.stopped, answer.stop_text) == ("one\ntwo", True, "\n\n")


def test_prompts_of_every_kind_become_token_ids():
    tokenizer = ByteTokenizer()
    assert encode_prompt(tokenizer, END + 1, Job("r", TextPrompt("hi"))) == (104, 105)
    assert encode_prompt(tokenizer, END + 1, Job("r", TokenPrompt((1, 2)))) == (1, 2)
    chat = ChatPrompt(({"role": "user", "content": "hi"},))
    assert encode_prompt(tokenizer, END + 1, Job("r", chat)) == (104, 105)


@pytest.mark.parametrize(
    ("prompt", "param"),
    [
        (TextPrompt(""), "prompt"),
        (TokenPrompt(()), "prompt"),
        (TokenPrompt((1, END + 1)), "prompt"),
        (TokenPrompt((-1,)), "prompt"),
        (ChatPrompt(({"role": "tool", "content": "x"},)), "messages"),
    ],
)
def test_a_prompt_that_the_model_cant_take_names_its_field(prompt, param):
    with pytest.raises(InvalidJobError) as caught:
        encode_prompt(ByteTokenizer(), END + 1, Job("r", prompt))
    assert caught.value.param == param


def test_a_chat_without_a_template_is_sent_to_completions():
    tokenizer = ByteTokenizer()
    tokenizer.chat_template = None
    with pytest.raises(InvalidJobError, match="/v1/completions"):
        encode_prompt(tokenizer, END + 1, Job("r", ChatPrompt(({"role": "user", "content": "hi"},))))


def test_a_template_of_the_jobs_own_serves_a_model_that_has_none():
    tokenizer = ByteTokenizer()
    tokenizer.chat_template = None
    chat = ChatPrompt(({"role": "user", "content": "hi"},), "{content}{mark}", {"mark": "!"})
    assert encode_prompt(tokenizer, END + 1, Job("r", chat)) == tuple(b"hi!")


def test_a_tokenizer_hears_of_a_template_only_if_there_is_one():
    heard = []

    class Watched(ByteTokenizer):
        def apply_chat_template(self, conversation, **options):
            heard.append(options)
            return "x"

    plain = {"tokenize": False, "add_generation_prompt": True, "mood": "glad"}
    for template, wanted in ((None, plain), ("{content}", plain | {"chat_template": "{content}"})):
        encode_prompt(Watched(), END + 1, Job("r", ChatPrompt(({"role": "user", "content": "hi"},), template, {"mood": "glad"})))
        assert heard[-1] == wanted


class PartsTokenizer(ByteTokenizer):
    """Its template goes through a list of parts, as those of many models for pictures do, or through what else it is given."""

    def apply_chat_template(self, conversation, **_options):
        parts = [part for message in conversation for part in message["content"]]
        return "".join(part["text"] if isinstance(part, dict) and part["type"] == "text" else "#" for part in parts)


def test_a_template_gets_a_messages_content_as_it_can_read_it():
    plain, parts = ByteTokenizer(), PartsTokenizer()
    assert (takes_texts(plain, None), takes_parts(plain, None)) == (True, False)
    assert (takes_texts(parts, None), takes_parts(parts, None)) == (False, True)
    chat = ChatPrompt(({"role": "user", "content": "hi"},))
    assert encode_prompt(parts, END + 1, Job("r", chat)) == (104, 105)
    several = ChatPrompt(
        ({"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "a"}]}, {"role": "user", "content": "b"})
    )
    assert chat_text(parts, several) == "#ab"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"sampling": SamplingParams(logit_bias={END: 1.0, END + 1: -1.0})}, "logit_bias"),
        ({"stop_token_ids": (END + 1,)}, "stop_token_ids"),
    ],
)
def test_a_parameter_that_names_an_unknown_token_is_refused_by_name(fields, param):
    with pytest.raises(InvalidJobError, match=f"'{param}'.*no token 257") as caught:
        check_parameters(END + 1, Job("r", TextPrompt("hi"), **fields))
    assert caught.value.param == param
    check_parameters(END + 2, Job("r", TextPrompt("hi"), **fields))


class MarkingTokenizer(ByteTokenizer):
    """Has special tokens after its bytes."""

    SPECIAL = ("<|ref|>", "<|/ref|>", "<|det|>", "<|/det|>", "<|User|>")

    @property
    def added_tokens_decoder(self):
        return {END + 1 + number: AddedToken(text, special=True) for number, text in enumerate(self.SPECIAL)}

    def decode(self, token_ids, skip_special_tokens=False):
        special = {} if skip_special_tokens else {token: its.content for token, its in self.added_tokens_decoder.items()}
        return "".join(special.get(token, super(MarkingTokenizer, self).decode([token])) for token in token_ids)

    def tokens(self, text):
        ids = {its.content: token for token, its in self.added_tokens_decoder.items()}
        pieces = re.split(f"({'|'.join(map(re.escape, ids))})", text)
        return [token for piece in pieces for token in ([ids[piece]] if piece in ids else piece.encode())]


def answered(text, stop=(), **options):
    answer = AnswerText(MarkingTokenizer(), stop, **options)
    said = [each for token in MarkingTokenizer().tokens(text) for each in answer.add(token)]
    return "".join(each.text for each in [*said, *answer.finish()])


GROUNDED = "<|User|><|ref|>title<|/ref|><|det|>[[1, 2, 3, 4]]<|/det|>\n# Report\n"


def test_an_ocr_models_marks_are_part_of_its_answer_though_they_are_special_tokens():
    assert answered(GROUNDED) == "title[[1, 2, 3, 4]]\n# Report\n"
    assert answered(GROUNDED, layout=FAMILIES[0].layout) == GROUNDED.removeprefix("<|User|>")


def test_its_marks_are_left_out_where_that_is_asked_for():
    assert answered(GROUNDED, layout=FAMILIES[0].layout, clean=True) == "# Report\n"
    assert answered(GROUNDED, clean=True) == answered(GROUNDED)


def test_stop_texts_are_looked_for_in_what_is_shown():
    assert answered(GROUNDED, ["[["], layout=FAMILIES[0].layout, clean=True) == "# Report\n"
    assert answered(GROUNDED, ["[["], layout=FAMILIES[0].layout) == "<|ref|>title<|/ref|><|det|>"
