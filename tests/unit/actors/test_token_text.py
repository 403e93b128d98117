"""A token alone has a text and its own bytes, however its vocabulary spells it."""

import pytest

from actors.contracts import LikelyToken, TokenLogprob
from actors.engine.token_text import TokenTexts
from scheduler.step import TokenLogprobs
from tests.fakes.model import ByteTokenizer

BROKEN = "\ufffd"
VOCABULARY = {  # id: how it is spelled, what decoding it alone shows
    0: ("\u0120Paris", " Paris"),
    1: ("\u00f0\u0141", BROKEN),  # the first two bytes of a smiley, in byte-level BPE's alphabet
    2: ("\u2581Paris", "Paris"),
    3: ("<0xE4>", BROKEN),
    4: ("<|im_end|>", "<|im_end|>"),
    5: ("\u4e16?", BROKEN),
    6: (None, ""),
    7: (None, BROKEN),
}
EXPECTED = {
    0: (" Paris", b" Paris"),
    1: (BROKEN, b"\xf0\x9f"),
    2: (" Paris", b" Paris"),
    3: (BROKEN, b"\xe4"),
    4: ("<|im_end|>", b"<|im_end|>"),
    5: (BROKEN, None),
    6: ("", b""),
    7: (BROKEN, None),
}


class Tokenizer(ByteTokenizer):
    decoded = 0

    def decode(self, token_ids, skip_special_tokens=False):
        assert not skip_special_tokens
        self.decoded += 1
        return VOCABULARY[token_ids[0]][1]

    def convert_ids_to_tokens(self, ids):
        return VOCABULARY[ids][0]


@pytest.mark.parametrize("token", VOCABULARY)
def test_text_and_bytes(token):
    text, data = EXPECTED[token]
    found = TokenTexts(Tokenizer()).describe(TokenLogprobs(token, -0.5))
    assert found == TokenLogprob(LikelyToken(text, None if data is None else tuple(data), -0.5))


def test_every_byte_has_its_character():
    class Bytes(Tokenizer):
        def decode(self, token_ids, skip_special_tokens=False):
            return BROKEN

        def convert_ids_to_tokens(self, ids):
            alphabet = [chr(n) for n in (*range(33, 127), *range(161, 173), *range(174, 256))]  # bytes that are themselves
            return next((c for c in alphabet if ord(c) == ids), None)

    texts = TokenTexts(Bytes())
    assert texts.describe(TokenLogprobs(ord("~"), 0.0)).token.bytes == (ord("~"),)
    assert texts.describe(TokenLogprobs(255, 0.0)).token.bytes == (255,)


def test_a_token_is_worked_out_once():
    tokenizer = Tokenizer()
    texts = TokenTexts(tokenizer)
    for logprob in (-1.0, -2.0):
        found = texts.describe(TokenLogprobs(0, logprob, ((0, logprob), (4, -3.0))))
        assert [each.logprob for each in (found.token, *found.top)] == [logprob, logprob, -3.0]
    assert tokenizer.decoded == 2
