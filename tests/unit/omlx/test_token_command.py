"""`omlx token` keeps a token without ever showing it, and forgets it."""

import os
import pty
import stat
import subprocess
import sys

import pytest
from click.testing import CliRunner

from omlx.cli import main
from tests.fakes.downloads import REPO, model_files
from tests.fakes.file_server import GOOD

pytestmark = pytest.mark.usefixtures("hub_environment")
TYPED = "hf_a-secret"


def omlx(*arguments, given=None, **environment):
    return CliRunner().invoke(
        main, [str(argument) for argument in arguments], input=given, env=environment, catch_exceptions=False
    )


def test_a_token_from_standard_input_is_kept_and_opens_a_gated_model(hub, tmp_path):
    hub.add(REPO, model_files(), gated=True)
    file = tmp_path / ".omlx" / "hf_token"
    assert omlx("pull", REPO, "--hf-endpoint", hub.url).exit_code == 1
    done = omlx("token", "set", "hf", given=f"{GOOD}\n")
    assert (done.exit_code, done.output) == (0, f"The token is kept in {file}\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert omlx("pull", REPO, "--hf-endpoint", hub.url).exit_code == 0
    assert omlx("token", "forget", "hf").output == f"{file} is deleted\n"
    assert omlx("token", "forget", "hf").output == f"No token is kept in {file}\n"


def test_each_source_has_a_token_of_its_own(modelscope, tmp_path):
    modelscope.add(REPO, model_files(), gated=True)
    pull = ("pull", f"modelscope:{REPO}", "--ms-endpoint", modelscope.url)
    omlx("token", "set", "hf", given=GOOD)
    assert omlx(*pull).exit_code == 1
    file = tmp_path / ".omlx" / "modelscope_token"
    assert omlx("token", "set", "modelscope", given=GOOD).output == f"The token is kept in {file}\n"
    assert omlx(*pull).exit_code == 0
    assert "MODELSCOPE_API_TOKEN is set here" in omlx("token", "forget", "modelscope", MODELSCOPE_API_TOKEN="x").stderr
    assert [each.name for each in file.parent.glob("*_token")] == ["hf_token"]


def test_another_base_path(tmp_path):
    omlx("token", "set", "hf", "--base-path", tmp_path / "b", given=TYPED)
    assert (tmp_path / "b" / "hf_token").read_text() == f"{TYPED}\n"
    omlx("token", "forget", "hf", OMLX_BASE_PATH=str(tmp_path / "b"))
    assert list((tmp_path / "b").iterdir()) == []


@pytest.mark.parametrize("given", [f"{TYPED} x", f"{TYPED}\nHF", f"{TYPED}\0", TYPED * 1000, "", b"\xff\xfe" + TYPED.encode()])
def test_what_can_be_no_token_is_refused_and_not_shown(tmp_path, given):
    done = omlx("token", "set", "hf", given=given)
    assert done.exit_code == 1
    assert done.output.startswith("Error: That can't be a token: it ")
    assert TYPED not in done.output
    assert not (tmp_path / ".omlx" / "hf_token").exists()


def test_a_variable_that_counts_more_is_named():
    assert "HF_TOKEN is set here and counts more." in omlx("token", "set", "hf", given=TYPED, HF_TOKEN="hf_x").stderr
    assert "HF_TOKEN is set here and still counts." in omlx("token", "forget", "hf", HF_TOKEN="hf_x").stderr


def test_only_places_that_take_tokens_have_one():
    assert omlx("token", "set", "demo", given=TYPED).exit_code == 2


def test_a_terminal_does_not_show_what_is_typed(tmp_path):
    terminal, end = pty.openpty()
    # With a session of its own it has no other terminal to ask at than this one.
    process = subprocess.Popen(
        [sys.executable, "-m", "omlx.cli", "token", "set", "hf", "--base-path", tmp_path / "b"],
        stdin=end,
        stdout=end,
        stderr=end,
        start_new_session=True,
    )
    os.close(end)
    shown = b""
    try:
        while b"Token:" not in shown:
            shown += os.read(terminal, 1000)
        os.write(terminal, f"{TYPED}\n".encode())
        while b"kept in" not in shown:
            shown += os.read(terminal, 1000)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
    assert TYPED.encode() not in shown
    assert (tmp_path / "b" / "hf_token").read_text() == f"{TYPED}\n"
