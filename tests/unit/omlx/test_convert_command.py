"""`omlx convert` takes a model by name or a folder, and says what can't be before anything is made."""

import os

import pytest
from click.testing import CliRunner

from omlx.cli import main
from omlx.conversion import conversion
from omlx.conversion.target import Quantization, Target
from tests.fakes.disk import write_llama


@pytest.fixture
def made(tmp_path, monkeypatch):
    """What was asked to be made."""
    for name in list(os.environ):
        if name.startswith(("OMLX_", "HF_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    asked = []

    def convert(source, model_dir, name, target, _report):
        asked.append((source.path, name, target))
        return model_dir / name

    monkeypatch.setattr(conversion, "convert", convert)
    return asked


def omlx(*arguments):
    return CliRunner().invoke(main, ["convert", *arguments], catch_exceptions=False)


def test_a_model_by_its_name(made, tmp_path):
    folder = write_llama(tmp_path / ".omlx" / "models" / "org" / "Tiny")
    done = omlx("Tiny", "--bits", "4")
    assert (done.exit_code, done.stdout) == (0, f"Tiny-4bit is in {tmp_path / '.omlx' / 'models' / 'Tiny-4bit'}\n")
    assert made == [(folder, "Tiny-4bit", Target(Quantization("affine", 4, 64)))]


def test_a_folder_and_a_name_of_its_own(made, tmp_path):
    folder = write_llama(tmp_path / "elsewhere")
    assert omlx(str(folder), "--name", "mine", "--dtype", "bfloat16").exit_code == 0
    assert made == [(folder, "mine", Target(dtype="bfloat16"))]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("org/Nothing",), 1, "Fetch it first: `omlx pull org/Nothing`."),
        (("",), 1, "Fetch it first: `omlx pull NAME`."),
        (("Tiny", "--bits", "7"), 2, "2, 3, 4, 5, 6 or 8 bits"),
        (("Tiny", "--mode", "mxfp4", "--group-size", "64"), 2, "groups of 32"),
        (("Tiny", "--dtype", "int8"), 2, "'float16'"),
    ],
)
def test_what_can_t_be(made, tmp_path, arguments, code, said):
    write_llama(tmp_path / ".omlx" / "models" / "Tiny")
    done = omlx(*arguments)
    assert (done.exit_code, made) == (code, [])
    assert said in done.stderr


def test_ctrl_c(made, tmp_path, monkeypatch):
    def convert(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(conversion, "convert", convert)
    write_llama(tmp_path / ".omlx" / "models" / "Tiny")
    done = omlx("Tiny")
    assert (done.exit_code, done.stderr) == (130, "Interrupted. Nothing of it is kept.\n")
