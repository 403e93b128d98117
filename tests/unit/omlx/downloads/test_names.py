"""Names from outside stay within the folder that they are meant for, on every file system."""

import pytest

from omlx.downloads.errors import UnsuitableError
from omlx.downloads.names import check_local, check_paths

ORDINARY = [
    "config.json",
    "model-00001-of-00002.safetensors",
    "1_Pooling/config.json",
    "LICENSE (Llama 3)",
    "模型.json",
    "modèle.json",
    "a/b/c.txt",
    "__init__.py",
]
HOSTILE = [
    "../config.json",
    "a/../../config.json",
    "/etc/passwd",
    "a//b.json",
    "a/./b.json",
    "",
    "..",
    "a\\..\\b.json",
    "C:config.json",
    "~/config.json",
    "-rf.json",
    ".bashrc",
    "a/.hidden/b.json",
    "config.json.",
    "config.json ",
    "con\x00fig.json",
    "config\n.json",
    "con\u200bfig.json",
    "gpj\u202enosj.fig",
    "\ud800.json",
    "mode\u0300le.json",
    "aux.json",
    "NUL",
    "com1/config.json",
    "x" * 252 + ".txt",
    "é" * 128,
    "a/b/c/d/e/f/g/h/i.json",
]


def test_ordinary_names_are_taken():
    check_paths("org/m", ORDINARY)


@pytest.mark.parametrize("path", HOSTILE, ids=ascii)
def test_a_hostile_name_refuses_the_repository_and_is_shown_in_plain_characters(path):
    with pytest.raises(UnsuitableError, match=r"^org/m can't be stored: it has a file called ") as caught:
        check_paths("org/m", ["config.json", path])
    assert str(caught.value).isascii()


@pytest.mark.parametrize("paths", [["a.json", "A.json"], ["x/a.json", "X/A.JSON"], ["a.json", "a.json"], ["a", "A/b.json"]])
def test_names_that_are_one_on_a_mac_are_refused(paths):
    with pytest.raises(UnsuitableError):
        check_paths("org/m", paths)


@pytest.mark.parametrize("name", ["../m", "org/m", ".m", "", "con", "m\u202e"])
def test_a_model_s_own_name_is_checked_too(name):
    with pytest.raises(UnsuitableError, match="--name"):
        check_local(name)


def test_a_model_s_own_name_is_what_was_given():
    assert check_local("Qwen3-0.6B-4bit") == "Qwen3-0.6B-4bit"
