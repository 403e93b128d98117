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


def test_where_there_can_be_no_file_the_lines_go_to_standard_error(tmp_path, capsys):
    (tmp_path / "logs").write_text("no folder")
    LogConfig(tmp_path / "logs").begin("catalog")
    logging.getLogger("anyone").info("loaded")
    warning, line = capsys.readouterr().err.splitlines()
    assert "WARNING no log lines are kept, as " in warning
    assert "logs/catalog.log can't be written" in warning
    assert line.endswith(" INFO    loaded")


class Full:
    """A file on a disk that is full."""

    def write(self, _text):
        raise OSError(28, "No space left on device")

    def __getattr__(self, _name):
        return lambda *_: 0


def test_a_disk_that_fills_is_said_once_and_stops_nobody(tmp_path, caplog):
    config = LogConfig(tmp_path)
    config.begin("catalog")
    (file,) = logging.getLogger().handlers
    file.stream.close()
    file.stream = Full()
    logging.getLogger().addHandler(caplog.handler)
    logging.getLogger("anyone").info("first")
    logging.getLogger("anyone").info("second")
    assert sorted(caplog.messages) == [
        "first",
        f"log lines are lost, as {tmp_path}/catalog.log can't be written: No space left on device",
        "second",
    ]
