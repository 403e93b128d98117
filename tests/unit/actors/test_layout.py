"""Marks of layout are left out of an answer, however it is cut, and nothing else is."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.engine.layout import LayoutFilter
from actors.ocr import FAMILIES

LAYOUTS = {family.name: family.layout for family in FAMILIES if family.layout}
BOX = "<|det|>[[12, 34, 567, 890]]<|/det|>"
ATOMS = st.sampled_from(
    (
        "<|ref|>", "<|/ref|>", "<|det|>", "<|/det|>", "<|grounding|>", "[[1, 2, 3, 4]]", "title", "text", "[", "]",
        "title [1, 2]", "\n", BOX, "<|ref|>title<|/ref|>", f"<|ref|>text<|/ref|>{BOX}", "<|det|>list [1, 2]<|/det|>", "<|det|>[[1", "Total: 3 €", "<", "<|", "|>", "<table><tr><td>1</td></tr></table>", "<|LOC_12|>", "<|LOC_", "BEGIN|>",
        "<|TEXT_START|>", "<|begin_of_box|>", "<|end_of_box|>", "a", " ",
    )
)  # fmt: skip
TEXTS = st.lists(ATOMS, max_size=12).map("".join)


def cleaned(layout, *pieces):
    layout_filter = LayoutFilter(LAYOUTS[layout])
    return "".join(layout_filter.add(piece) for piece in pieces) + layout_filter.flush()


@pytest.mark.parametrize("name", LAYOUTS)
@given(TEXTS, st.lists(st.integers(0, 80), max_size=8))
def test_however_a_text_is_cut_the_same_is_left_of_it(name, text, cuts):
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[start:stop] for start, stop in pairwise(places)]
    whole = re.sub(LAYOUTS[name].marks, "", text)
    assert cleaned(name, *pieces) == whole
    assert cleaned(name, *text) == whole


@pytest.mark.parametrize("name", LAYOUTS)
@given(st.text(max_size=60).filter(lambda text: "<|" not in text))
def test_what_has_no_mark_stays_as_it_is(name, text):
    assert cleaned(name, *text) == text


@given(st.lists(st.text(st.characters(exclude_characters="<")), max_size=5))
def test_all_of_a_page_but_its_layout_is_left(paragraphs):
    answer = "".join(f"<|ref|>text<|/ref|>{BOX}\n{paragraph}\n" for paragraph in paragraphs)
    assert cleaned("DeepSeek-OCR", *answer) == "".join(f"{paragraph}\n" for paragraph in paragraphs)


@pytest.mark.parametrize(
    ("name", "answer", "left"),
    [
        ("DeepSeek-OCR", f"<|ref|>title<|/ref|>{BOX}\n# Report\n\n<|ref|>image<|/ref|>{BOX}\n", "# Report\n\n"),
        ("DeepSeek-OCR", f"<|ref|>Total assets<|/ref|>{BOX}", "Total assets"),
        ("DeepSeek-OCR", "# Report\n<|ref|>text<|/ref|><|det|>[[12, 3", "# Report\n"),
        ("DeepSeek-OCR", "<|det|>not a box", "not a box"),
        ("DeepSeek-OCR", "see [[1, 2]] and <|re", "see [[1, 2]] and <|re"),
        ("Unlimited-OCR", "<|det|>title [1, 2, 3, 4]<|/det|>Report", "Report"),
        ("PaddleOCR-VL", "<|TEXT_START|>Hi<|TEXT_END|><|LOC_BEGIN|><|LOC_1|><|LOC_1000|><|LOC_END|>", "Hi"),
        ("PaddleOCR-VL", "a<fcel>b<nl>", "a<fcel>b<nl>"),
        ("GLM-OCR", "<|begin_of_box|>42<|end_of_box|>", "42"),
    ],
)
def test_marks_are_left_out(name, answer, left):
    assert cleaned(name, answer) == left


def test_only_what_may_become_a_mark_is_held_back():
    layout_filter = LayoutFilter(LAYOUTS["DeepSeek-OCR"])
    assert layout_filter.add("a < b and <") == "a < b and "
    assert layout_filter.add("table") == "<table"
    assert layout_filter.add("<|ref|>ti") == ""
    assert layout_filter.add("ny one") == "tiny one"
