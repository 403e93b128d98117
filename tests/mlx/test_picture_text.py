"""Pictures stand in a text's tokens as if the text had been read as a whole."""

import re

from actors.engine.picture_text import Framed, lay_out, split_frame
from scheduler.mlx.pictures import Picture

SPECIAL = ("<begin>", "<image>", "<end>")


class Reader:
    """Special tokens are one each; line ends that follow each other are one token, and any other character is one."""

    all_special_ids = (0, 1, 2)

    def __init__(self):
        self.added_tokens_decoder = {}
        self.texts = list(SPECIAL)

    def encode(self, text, add_special_tokens=True):
        found = re.findall("|".join(map(re.escape, SPECIAL)) + r"|\n+|.", text)
        self.texts += [each for each in dict.fromkeys(found) if each not in self.texts]
        return [self.texts.index(each) for each in found]

    def decode(self, token_ids, skip_special_tokens=False):
        return "".join(self.texts[token] for token in token_ids)


def framed(reader, text):
    before, token_ids, after = split_frame(reader, reader.encode(text))
    return Framed(Picture(b"", token_ids, {}), before, after)


def test_a_frame_is_the_plain_text_around_special_tokens():
    reader = Reader()
    assert split_frame(reader, reader.encode("\n\n<begin>x<image><end>\n")) == (
        "\n\n", tuple(reader.encode("<begin>x<image><end>")), "\n")  # fmt: skip
    assert split_frame(reader, reader.encode("ab")) == ("", tuple(reader.encode("ab")), "")


def test_text_of_a_frame_is_read_with_the_text_next_to_it():
    reader = Reader()
    picture = framed(reader, "\n<begin><image><image><end>\n")
    token_ids, places = lay_out(reader, "<image>", ["a\n", "", "\nb"], [picture, picture])
    whole = "a\n\n<begin><image><image><end>\n\n<begin><image><image><end>\n\nb"
    assert token_ids == reader.encode(whole)
    assert [first for first, _ in places] == [2, 7]
    assert all(
        token_ids[first : first + 4] == list(picture.picture.token_ids)
        for first, picture in zip((2, 7), [picture] * 2, strict=True)
    )


def test_a_placeholder_that_is_no_token_parts_the_text():
    reader = Reader()
    picture = framed(reader, "\n<begin><image><end>")
    token_ids, places = lay_out(reader, "[1]", ["a\n", "b"], [picture])
    assert token_ids == reader.encode("a\n\n<begin><image><end>b")
    assert places == [(2, picture.picture)]
