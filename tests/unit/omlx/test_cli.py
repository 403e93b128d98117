"""The command line says what it does, and takes every option from the environment too."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from actors.contracts import EngineOptions
from omlx import __version__, server
from omlx.cli import main
from tests.fakes.model import write_model


@pytest.fixture
def served(monkeypatch):
    """The settings that the server would be run with."""
    settings = []
    monkeypatch.setattr(server, "serve", settings.append)
    return settings


def omlx(*arguments, **environment):
    return CliRunner().invoke(main, arguments, env=environment, catch_exceptions=False)


def test_version():
    assert omlx("--version").output == f"omlx {__version__}\n"


def test_help_names_every_option_with_its_default_and_variable():
    page = omlx("serve", "--help").output
    for word in ("--port", "OMLX_PORT", "default: 8000", "--ray-address ADDR", "~/.omlx"):
        assert word in page


def test_defaults(served):
    omlx("serve")
    (settings,) = served
    base = Path("~/.omlx").expanduser()
    assert (settings.base_path, settings.model_dirs) == (base, (base / "models",))
    assert (settings.host, settings.port, settings.engine) == ("127.0.0.1", 8000, EngineOptions())
    assert (settings.log_level, settings.ray_address) == ("info", None)


def test_the_environment_counts_and_the_command_line_wins(served):
    omlx("serve", "--port", "1", OMLX_PORT="2", OMLX_HOST="::1", OMLX_MODEL_DIR="/a:/b", OMLX_BASE_PATH="/base")
    (settings,) = served
    assert (settings.port, settings.host) == (1, "::1")
    assert settings.model_dirs == (Path("/a"), Path("/b"))
    assert settings.base_path == Path("/base")


def test_model_dir_may_be_given_several_times(served):
    omlx("serve", "--model-dir", "/a", "--model-dir", "/b")
    assert served[0].model_dirs == (Path("/a"), Path("/b"))


def test_models_lists_what_is_found(tmp_path):
    write_model(tmp_path, "some-model")
    output = omlx("models", "--model-dir", str(tmp_path)).output
    assert "some-model" in output
    assert "4096" in output
    (tmp_path / "empty").mkdir()
    assert "omlx pull demo" in omlx("models", "--model-dir", str(tmp_path / "empty")).output


def test_errors_of_ours_are_one_line(monkeypatch):
    def busy(_settings):
        raise server.ServerError("the port is busy")

    monkeypatch.setattr(server, "serve", busy)
    done = omlx("serve")
    assert (done.exit_code, done.stderr) == (1, "Error: the port is busy\n")


def test_how_engines_work_may_be_chosen(served):
    omlx(
        "serve",
        "--max-concurrent-requests",
        "2",
        "--max-queued-requests",
        "3",
        "--kv-cache-bytes",
        "4",
        OMLX_MAX_DECODE_STALL_MS="5",
    )
    assert served[0].engine == EngineOptions(2, 3, 5, 4)
