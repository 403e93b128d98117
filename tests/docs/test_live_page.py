"""docs/api.md has everything that an event of `/admin/api/live` has."""

import re
from pathlib import Path

from omlx.api.live import EngineNumbers, LiveShown

PAGE = (Path(__file__).parents[2] / "docs/api.md").read_text("utf-8")
PART = re.search(r"^## What runs\n(.*?)(?=^## )", PAGE, re.MULTILINE | re.DOTALL)[1]


def named(heading):
    """What stands in the first column of the table with a heading."""
    table = PART[PART.index(heading) :].partition("\n\n")[0]
    return {name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split(" | ")[0])}


def test_every_field_has_its_row_and_no_other():
    assert named("| field | |") == set(LiveShown.model_fields)
    assert named("| field of `engines` | |") == set(EngineNumbers.model_fields)
