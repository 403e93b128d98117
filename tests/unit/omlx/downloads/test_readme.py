"""A README is shown without what is for programs and without what a terminal would obey."""

import pytest

from omlx.downloads.readme import readable


@pytest.mark.parametrize(
    ("readme", "shown"),
    [
        (b"# Title\n\ntext\n", "# Title\n\ntext"),
        (b"---\nlicense: mit\ntags:\n- mlx\n---\n\n# Title", "# Title"),
        (b"\xef\xbb\xbf---\r\nlicense: mit\r\n---\r\n# Title\r\ntext", "# Title\ntext"),
        (b"---\nlicense: mit\n---", ""),
        (b"---\n# A line above, and no end\n", "---\n# A line above, and no end"),
        (b"# Title\n\n---\na: b\n---\n", "# Title\n\n---\na: b\n---"),
        (b"", ""),
    ],
)
def test_what_stands_before_it_for_programs_is_left_out(readme, shown):
    assert readable(readme) == shown


def test_what_a_terminal_would_obey_is_left_out():
    wild = "a\x1b[2J\x1b]0;title\x07b\x9b31mc\rd\x00\x7f\u202ee\u2066f\tg\nh"
    assert readable(wild.encode()) == "a[2J]0;titleb31mcdef\tg\nh"


def test_bytes_that_are_no_text_do_no_harm():
    assert readable(b"caf\xe9 \xff") == "caf\ufffd \ufffd"


def test_it_is_cut_between_two_characters_at_64_kib():
    text = readable(b"x" + "é".encode() * 100_000)
    assert len(text.encode()) == (64 << 10) - 1
    assert set(text) == {"x", "é"}
