"""`omlx rm` removes what it is told by name, asks first, and leaves what is loaded."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from actors.folder_lock import FolderLock
from omlx.cli import main
from tests.fakes.disk import write_llama

ROOT = Path(__file__).parents[3]


@pytest.fixture
def models(tmp_path, monkeypatch):
    for name in list(os.environ):
        if name.startswith(("OMLX_", "HF_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / ".omlx" / "models"
    for name in ("Tiny-4bit", "Tiny-8bit", "org/Other"):
        write_llama(folder / name)
    return folder


def omlx(*arguments):
    return CliRunner().invoke(main, list(arguments), catch_exceptions=False)


def there(models):
    return sorted(each.parent.relative_to(models).as_posix() for each in models.rglob("config.json"))


def test_models_are_removed_by_name_and_by_alias(models):
    omlx("settings", "set", "Tiny-8bit", "model_alias", "eight")
    done = omlx("rm", "Other", "eight", "Tiny-8bit", "--yes")
    assert (done.exit_code, done.stdout) == (0, "Other is removed\nTiny-8bit is removed\n")
    assert there(models) == ["Tiny-4bit"]
    assert [each.name for each in models.iterdir()] == ["Tiny-4bit"]


def test_its_settings_stay_for_when_it_comes_back(models):
    omlx("settings", "set", "Tiny-8bit", "temperature", "0.25")
    omlx("rm", "-y", "Tiny-8bit")
    write_llama(models / "Tiny-8bit")
    assert omlx("settings", "get", "Tiny-8bit", "temperature").stdout == "0.25\n"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tiny-4bits", "There is no model 'tiny-4bits'. Did you mean Tiny-4bit or Tiny-8bit?"),
        ("../models/Tiny-4bit", "There is no model '../models/Tiny-4bit'."),
        ("zzz", "There is no model 'zzz'. Models here: Other, Tiny-4bit, Tiny-8bit."),
        ("", "There is no model ''. Models here:"),
    ],
)
def test_nothing_goes_when_a_name_is_none(models, name, said):
    done = omlx("rm", "--yes", "Other", name)
    assert done.exit_code == 1
    assert said in done.stderr
    assert there(models) == ["Tiny-4bit", "Tiny-8bit", "org/Other"]


def test_a_path_from_outside_is_a_name_that_there_is_not(models, tmp_path):
    folder = write_llama(tmp_path / "mine")
    assert omlx("rm", "--yes", str(folder)).exit_code == 1
    assert folder.is_dir()


def test_where_nobody_can_be_asked_nothing_goes(models):
    done = omlx("rm", "Other")
    assert done.exit_code == 2
    assert "say so with --yes" in done.stderr
    assert there(models) == ["Tiny-4bit", "Tiny-8bit", "org/Other"]


def test_what_is_loaded_stays_unless_it_is_forced(models):
    lock = FolderLock(models / "Tiny-4bit")
    done = omlx("rm", "--yes", "Other", "Tiny-4bit")
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: 'Tiny-4bit' is loaded. Unload it first")
    assert "--force" in done.stderr
    assert there(models) == ["Tiny-4bit", "Tiny-8bit", "org/Other"]
    assert omlx("rm", "--yes", "--force", "Other", "Tiny-4bit").exit_code == 0
    assert there(models) == ["Tiny-8bit"]
    lock.release()


def test_one_that_can_not_go_does_not_keep_the_others(models, tmp_path):
    write_llama(tmp_path / "elsewhere" / "Linked")
    (models / "link").symlink_to(tmp_path / "elsewhere")
    done = omlx("rm", "--yes", "Linked", "Other")
    assert (done.exit_code, done.stdout) == (1, "Other is removed\n")
    assert "beyond the link" in done.stderr
    assert there(tmp_path / "elsewhere") == ["Linked"]


@pytest.mark.parametrize(
    ("answer", "left"), [(b"y\n", ["Tiny-8bit", "org/Other"]), (b"\n", ["Tiny-4bit", "Tiny-8bit", "org/Other"])]
)
def test_on_a_terminal_it_asks_and_takes_a_yes_alone(models, tmp_path, answer, left):
    terminal, other_end = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "omlx.cli", "rm", "Tiny-4bit"],
        stdin=other_end,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
    ) as process:
        os.close(other_end)
        os.write(terminal, answer)
        said, errors = process.communicate(timeout=60)
    os.close(terminal)
    assert f"Tiny-4bit  0 MB  {models / 'Tiny-4bit'}\n" in said.decode()
    assert b"Remove it for good? [y/N]" in said + errors
    assert there(models) == left
    assert process.returncode == (0 if answer == b"y\n" else 1)
