"""The process around a library's converter: no code of a model's own, and no life after its starter's. The library is a stand-in."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from actors.engine.converter import DONE
from omlx.conversion import converter

ROOT = Path(__file__).parents[3]


@pytest.fixture
def start(tmp_path):
    def begin(body):
        (tmp_path / "library").mkdir()
        (tmp_path / "library" / "__init__.py").touch()
        (tmp_path / "library" / "convert.py").write_text(
            f"import json, os, time\ndef convert(source, folder, **options):\n    {body}\n"
        )
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "actors.engine.converter", "library", "from", "to", json.dumps({"q_bits": 4})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": f"{ROOT}:{tmp_path}", "PYTHONUNBUFFERED": "1"},
        )

    return begin


def test_the_library_is_asked_without_trust_and_the_end_is_said(start):
    with start("print(json.dumps([source, folder, options]))") as process:
        asked, done = process.stdout.read().splitlines()
        assert json.loads(asked) == ["from", "to", {"q_bits": 4, "trust_remote_code": False}]
        assert done == DONE == converter.DONE
    assert process.returncode == 0


def test_what_fails_is_not_said_to_be_done(start):
    with start("raise ValueError('no such model')") as process:
        assert DONE not in process.stdout.read()
    assert process.returncode == 1


def test_it_ends_when_nobody_holds_the_other_end_of_its_input(start):
    with start("print('at work'); time.sleep(600)") as process:
        assert process.stdout.readline() == "at work\n"
        process.stdin.close()
        assert process.wait(timeout=30) == 1
