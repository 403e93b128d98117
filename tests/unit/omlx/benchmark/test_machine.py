"""What is said of a machine."""

import json
import sys
from importlib import metadata

from omlx.benchmark.machine import machine_card, output


def test_a_card_says_what_a_figure_belongs_to():
    card = machine_card()
    assert json.loads(json.dumps(card)) == card
    assert card["cpu"]
    assert card["cores"] >= 1
    assert card["load"] >= 0
    assert card["mlx"] == metadata.version("mlx")


def test_a_command_that_fails_or_isn_t_there_says_nothing(tmp_path):
    assert output([sys.executable, "-c", "import os; print(os.getcwd())"], tmp_path) == str(tmp_path)
    assert output([sys.executable, "-c", "print('half'); raise SystemExit(1)"]) == ""
    assert output(["no-such-command-anywhere"]) == ""
