"""docs/models.md has every reason for skipping a folder, every type, and what the code looks at."""

from pathlib import Path

import pytest

from actors.catalog.model_config import _FROM_GENERATION, _NAMES
from actors.catalog.reasons import Reason
from actors.catalog.unfinished import _PARTIAL, DOWNLOADS
from actors.models import ModelType
from tests.e2e.vision_families import REFUSED, WRITERS

PAGE = (Path(__file__).parents[2] / "docs/models.md").read_text()
ROWS = [line for line in PAGE.splitlines() if line.startswith("|")]


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.name)
def test_every_reason_has_its_row(reason):
    assert len([row for row in ROWS if row.endswith(f"| {reason} |")]) == 1


def test_no_row_has_a_reason_that_does_not_exist():
    start = ROWS.index("| what is there | reason and cure |")
    table = PAGE[PAGE.index(ROWS[start]) :].partition("\n\n")[0].splitlines()[2:]
    assert len(table) == len(Reason)


@pytest.mark.parametrize("type_", ModelType)
def test_every_type_has_its_row(type_):
    assert len([row for row in ROWS if row.startswith(f"| `{type_}` |")]) == 1


def test_types_stand_in_the_order_in_which_they_are_tried():
    order = ["reranker", "embedding", "ocr", "vlm", "llm"]
    assert sorted(order) == sorted(ModelType)
    assert [
        row.split("`")[1] for row in ROWS if row.split("`")[1:2] and row.split("`")[1] in order and row.startswith("| `")
    ] == order


def test_what_marks_a_download_is_documented():
    assert [ending for ending in _PARTIAL if f"`*{ending}`" not in PAGE] == []
    assert [folder for folder in DOWNLOADS if f"`{folder}`" not in PAGE] == []


def test_what_is_taken_from_a_generation_config_is_documented():
    assert [name for name in _FROM_GENERATION if f"`{_NAMES.get(name, name)}`" not in PAGE] == []


def test_families_whose_pictures_are_tested_stand_there():
    assert _first_cells("| `model_type` | for example |") == list(WRITERS)
    assert _first_cells("| `model_type` | why |") == list(REFUSED)


def _first_cells(heading):
    table = PAGE[PAGE.index(heading) :].partition("\n\n")[0].splitlines()[2:]
    return [row.split("`")[1] for row in table]
