"""The page on settings has every setting, as it is."""

import json
import re
from pathlib import Path

import pytest

from actors.settings import GLOBAL_SETTINGS, MODEL_SETTINGS, SAMPLING, Effect
from omlx.api.openai import GenerationRequest

PAGE = (Path(__file__).parents[2] / "docs/settings.md").read_text("utf-8")


def row(setting):
    default = "" if setting.default is None else f"`{json.dumps(setting.default)}`"
    return f"| `{setting.name}` | {setting.takes} | {default} | {setting.effect} | {setting.help} |"


def rows(heading):
    """The rows of the table under a heading."""
    part = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return [line for line in part[1].splitlines() if line.startswith("| `")]


@pytest.mark.parametrize(("heading", "table"), [("Settings of a model", MODEL_SETTINGS), ("Global settings", GLOBAL_SETTINGS)])
def test_the_table_is_the_code_s(heading, table):
    assert rows(heading) == [row(setting) for setting in table.values()]


def test_what_holds_when_nobody_says_anything_is_a_request_s_default():
    fields = GenerationRequest.model_fields
    said = dict(re.findall(r"`(\w+)` (\S+)[,.]", re.search(r"^5\. .*(?:\n   .*)*", PAGE, re.MULTILINE)[0]))
    built_in = {each.name: fields[each.name].default for each in SAMPLING if isinstance(fields[each.name].default, int | float)}
    assert {name: float(value) for name, value in said.items()} == built_in


@pytest.mark.parametrize("effect", Effect)
def test_every_effect_is_explained(effect):
    assert f"| {effect} | " in PAGE.split("## Settings of a model")[0]
