"""The command line says what it does, and takes every option from the environment too."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from actors.settings import GLOBAL_SETTINGS, SAMPLING
from omlx import __version__, demo, logs, server
from omlx.cli import main
from omlx.options import SETTINGS
from tests.fakes.disk import write_llama


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    """A person without files of ours or of Hugging Face's."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    for variable in ("HF_HOME", "HF_HUB_CACHE", "HF_ENDPOINT", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    return folder


@pytest.fixture
def served(monkeypatch):
    """The settings that the server would be run with."""
    settings = []
    monkeypatch.setattr(server, "serve", lambda asked, _api_key: settings.append(asked))
    return settings


def omlx(*arguments, **environment):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], env=environment, catch_exceptions=False)


def test_version():
    assert omlx("--version").output == f"omlx {__version__}\n"


def test_help_names_every_option_with_its_default_and_variable():
    page = " ".join(omlx("serve", "--help").output.split())
    for word in ("--port INTEGER", "OMLX_PORT", "default: 8000", "[debug|info|warning|error]", "~/.omlx", "100 on a GPU"):
        assert word in page


def test_every_global_setting_but_sampling_is_an_option_of_its_name():
    named = {*SETTINGS, "model_dirs", "hf_cache"}
    assert named == set(GLOBAL_SETTINGS) - {setting.name for setting in SAMPLING}


def test_defaults(served, home):
    omlx("serve")
    (settings,) = served
    base = home / ".omlx"
    assert (settings.base_path, settings.model_dirs) == (base, (base / "models",))
    assert settings.hf_cache == home / ".cache/huggingface/hub"
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert (settings.log_level, settings.log_format, settings.ray_address) == ("info", "text", None)
    assert settings.given == {}
    assert not base.exists()


def test_the_environment_counts_and_the_command_line_wins(served):
    omlx("serve", "--port", "1", OMLX_PORT="2", OMLX_HOST="::1", OMLX_MODEL_DIR="/a:/b", OMLX_BASE_PATH="/base")
    (settings,) = served
    assert (settings.port, settings.host) == (1, "::1")
    assert settings.model_dirs == (Path("/a"), Path("/b"))
    assert settings.base_path == Path("/base")


def test_a_collector_is_an_http_url(served):
    omlx("serve", OMLX_OTLP_ENDPOINT="http://127.0.0.1:4318")
    assert served[0].otlp_endpoint == "http://127.0.0.1:4318"
    refused = omlx("serve", "--otlp-endpoint", "127.0.0.1:4318")
    assert refused.exit_code == 2
    assert "'otlp_endpoint' takes a URL that begins with http:// or https://" in refused.output
    assert len(served) == 1


def test_a_hub_may_be_named_by_its_own_variable(served):
    omlx("serve", HF_ENDPOINT="https://mirror.example/")
    omlx("serve", HF_ENDPOINT="https://mirror.example", OMLX_HF_ENDPOINT="https://ours.example")
    omlx("serve", HF_ENDPOINT="")
    assert [each.hf_endpoint for each in served] == ["https://mirror.example/", "https://ours.example", None]


def test_the_file_counts_less_than_the_environment(served, tmp_path):
    (tmp_path / "settings.json").write_text('{"port": 3, "host": "::1", "ttl_seconds": 60, "model_dirs": ["/kept"]}')
    omlx("serve", "--base-path", tmp_path, OMLX_PORT="2")
    (settings,) = served
    assert (settings.port, settings.host, settings.model_dirs) == (2, "::1", (Path("/kept"),))
    assert settings.given == {"port": 2}


def test_log_lines_may_be_json(served, monkeypatch):
    asked = []
    monkeypatch.setattr(logs, "configure_logging", lambda *how: asked.append(how))
    omlx("serve", "--log-format", "json", "--log-level", "debug")
    omlx("serve", OMLX_LOG_FORMAT="json")
    assert [settings.log_format for settings in served] == ["json", "json"]
    assert asked == [("debug", "json"), ("info", "json")]
    assert omlx("serve", "--log-format", "xml").exit_code == 2


def test_model_dir_may_be_given_several_times_and_with_commas(served):
    omlx("serve", "--model-dir", "/a", "--model-dir", "/b,/c:d")
    assert served[0].model_dirs == (Path("/a"), Path("/b"), Path("/c:d"))
    omlx("serve", OMLX_MODEL_DIR="/a, ~/b:/c")
    assert served[1].model_dirs == (Path("/a"), Path("~/b").expanduser(), Path("/c"))


def test_model_dirs_are_given_as_they_stand_in_the_file(served, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    omlx("serve", "--model-dir", "here")
    assert served[0].given == {"model_dirs": [str(tmp_path / "here")]}


def test_a_file_is_no_model_dir(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    done = omlx("serve", "--model-dir", f"{tmp_path},{file}")
    assert done.exit_code == 2
    assert f"'{file}' is a file" in done.stderr


def test_how_engines_work_may_be_chosen(served):
    omlx(
        "serve",
        *("--max-concurrent-requests", "2", "--max-queued-requests", "3", "--kv-cache-max-bytes", "4"),
        *("--ttl-seconds", "60", "--max-process-memory", "60%", "--no-hf-cache"),
        OMLX_MAX_DECODE_STALL_MS="5",
        OMLX_LOAD_TIMEOUT_SECONDS="30",
    )
    (settings,) = served
    assert settings.given == {
        "max_concurrent_requests": 2,
        "max_queued_requests": 3,
        "kv_cache_max_bytes": 4,
        "ttl_seconds": 60,
        "max_process_memory": "60%",
        "hf_cache": False,
        "max_decode_stall_ms": 5,
        "load_timeout_seconds": 30,
    }
    assert settings.hf_cache is None


def test_a_value_that_can_not_be_names_its_option():
    done = omlx("serve", "--port", "70000")
    assert done.exit_code == 2
    assert "'--port'" in done.stderr


def test_an_option_of_null_decides_nothing(served, tmp_path):
    (tmp_path / "settings.json").write_text('{"port": 3}')
    omlx("serve", "--base-path", tmp_path, "--port", "null", OMLX_TTL_SECONDS="none")
    assert served[0].given == {}
    assert served[0].port == 3


def test_models_lists_what_is_found_and_what_was_skipped(tmp_path):
    write_llama(tmp_path / "some-model")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "config.json").write_text('{"model_type": "llama"}')
    output = omlx("models", "--model-dir", tmp_path).output
    assert "some-model" in output
    assert "4096" in output
    assert f"{tmp_path / 'half'}: " in output


def test_models_for_programs(tmp_path):
    write_llama(tmp_path / "models" / "some-model")
    omlx("settings", "set", "some-model", "model_alias", "mine", "--base-path", tmp_path)
    written = json.loads(omlx("models", "--json", "--base-path", tmp_path).output)
    (model,) = written["models"]
    assert (model["id"], model["alias"], model["path"]) == ("some-model", "mine", str(tmp_path / "models" / "some-model"))
    assert written["skipped"] == []


def test_models_of_the_hugging_face_cache_can_be_left_out(tmp_path):
    write_llama(tmp_path / "models--org--cached" / "snapshots" / ("0" * 40))
    assert "cached" in omlx("models", HF_HUB_CACHE=str(tmp_path)).output
    assert "omlx pull demo" in omlx("models", "--no-hf-cache", HF_HUB_CACHE=str(tmp_path)).output


def test_without_models_the_demo_model_is_pointed_to(tmp_path):
    assert f"No models in {tmp_path}. `omlx pull demo`" in omlx("models", "--model-dir", tmp_path).output


def test_demo_is_fetched_where_there_is_no_model(served, monkeypatch, tmp_path):
    fetched = []
    monkeypatch.setattr(demo, "pull_demo", lambda folder, _progress: fetched.append(folder) or folder / "demo")
    omlx("serve", "--demo", "--model-dir", tmp_path)
    assert fetched == [tmp_path]
    write_llama(tmp_path / "some-model")
    omlx("serve", "--demo", "--model-dir", tmp_path)
    assert fetched == [tmp_path]
    assert len(served) == 2


def test_the_demo_model_is_put_where_the_file_says_that_models_are(monkeypatch, tmp_path):
    monkeypatch.setattr(demo, "pull_demo", lambda folder, _progress: folder / "demo")
    (tmp_path / "settings.json").write_text('{"model_dirs": ["mine"]}')
    assert omlx("pull", "demo", "--base-path", tmp_path).output == f"demo is in {tmp_path / 'mine' / 'demo'}\n"


def test_errors_of_ours_are_one_line(monkeypatch):
    def busy(_settings, _api_key):
        raise server.ServerError("the port is busy")

    monkeypatch.setattr(server, "serve", busy)
    done = omlx("serve")
    assert (done.exit_code, done.stderr) == (1, "Error: the port is busy\n")


def test_the_key_reaches_the_server_and_nobody_else(monkeypatch):
    given = []
    monkeypatch.setattr(server, "serve", lambda _asked, api_key: given.append((api_key, os.environ.get("OMLX_API_KEY"))))
    omlx("serve", OMLX_API_KEY="sesame-sesame")
    omlx("serve", "--api-key", "sesame-street")
    omlx("serve")
    assert given == [("sesame-sesame", None), ("sesame-street", None), (None, None)]
