"""Each actor has a file of its own, in the format that was asked for."""

import json
import logging

import pytest

from actors.logs import LogConfig


@pytest.fixture(autouse=True)
def root_logger():
    """Gives the root logger back as it was."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    root.handlers = []
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers = before
    root.setLevel(level)


def test_a_slash_in_a_name_makes_no_folder(tmp_path):
    LogConfig(tmp_path / "logs").begin("engine-org/name")
    logging.getLogger("anyone").info("loaded")
    assert (tmp_path / "logs/engine-org--name.log").read_text().endswith(" INFO    loaded\n")


def test_lines_below_the_level_are_left_out(tmp_path):
    LogConfig(tmp_path, "warning").begin("catalog")
    logging.getLogger("anyone").info("loaded")
    assert (tmp_path / "catalog.log").read_text() == ""


def test_a_file_may_be_json(tmp_path):
    LogConfig(tmp_path, format="json").begin("catalog")
    logging.getLogger("anyone").info("loaded %s\n", "é\udc80", extra={"seconds": 1.5})
    (line,) = (tmp_path / "catalog.log").read_text().splitlines()
    told = json.loads(line)
    assert (told["logger"], told["message"], told["seconds"]) == ("anyone", "loaded é?", 1.5)
