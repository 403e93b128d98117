"""docs/models.md has the table of OCR models as it is in the code."""

import re
from pathlib import Path

import pytest

from actors.ocr import FAMILIES
from actors.settings import SAMPLING

PAGE = (Path(__file__).parents[2] / "docs/models.md").read_text("utf-8")
PART = re.search(r"^## OCR models\n(.*?)(?=^## )", PAGE, re.MULTILINE | re.DOTALL)[1]
ROWS = [re.split(r" (?<!\\)\| ", line.strip("| ")) for line in PART.splitlines() if line.startswith("| ")][1:]
PAIRS = list(zip(ROWS, FAMILIES, strict=False))


def test_every_family_has_its_row_in_order():
    assert [row[0] for row in ROWS] == [family.name for family in FAMILIES]


@pytest.mark.parametrize(("row", "family"), PAIRS, ids=[family.name for family in FAMILIES])
def test_the_row_says_what_the_code_does(row, family):
    _, architectures, instruction, defaults, marks = row
    assert re.findall(r"`([^`]+)`", architectures) == list(family.architectures)
    assert instruction.strip("`").replace("\\|", "|") == family.instruction
    said = {name: float(value) for name, value in re.findall(r"`(\w+)` ([\d.e+]+)", defaults)}
    assert said == family.sampling
    assert (marks == "none") == (family.layout is None)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_defaults_are_values_that_the_settings_could_have(family):
    settings = {each.name: each for each in SAMPLING}
    assert {name: settings[name].check(value) for name, value in family.sampling.items()} == family.sampling


@pytest.mark.parametrize(("row", "family"), PAIRS, ids=[family.name for family in FAMILIES])
def test_the_marks_of_the_page_are_marks(row, family):
    for mark in re.findall(r"<\|[^…<>]+\|>", row[4].replace("\\|", "|")):
        assert re.fullmatch(family.layout.marks, mark), mark
