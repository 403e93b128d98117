"""`omlx settings` shows where each value is from, and changes the files by the rules of the table."""

import json

import click
import pytest
from click.testing import CliRunner

from actors.catalog.settings_store import SettingsStore
from omlx.cli import main
from tests.fakes.disk import write_llama


@pytest.fixture
def base(tmp_path):
    folder = write_llama(tmp_path / "models" / "small")
    (folder / "generation_config.json").write_text('{"temperature": 0.6, "top_p": 0.9}')
    write_llama(tmp_path / "models" / "other")
    return tmp_path


@pytest.fixture
def run(base):
    def run(*words):
        done = CliRunner().invoke(
            main, ["settings", *words, "--no-hf-cache", "--base-path", str(base)], catch_exceptions=False, env={"COLUMNS": "200"}
        )
        return done.exit_code, done.stdout, done.stderr

    return run


def rows(output):
    return {line.split()[0]: line.split(maxsplit=2)[1:] for line in output.splitlines()[1:]}


def test_everything_is_shown_with_where_it_is_from(run, base):
    (base / "settings.json").write_text('{"port": 9000}')
    shown = rows(run("get")[1])
    assert shown["port"] == ["9000", "settings.json"]
    assert shown["host"] == ["127.0.0.1", "default"]
    assert shown["max_concurrent_requests"] == ["8", "default"]
    assert shown["max_process_memory"] == ["null", "default"]
    assert not (base / "model_settings.json").exists()


def test_a_model_has_its_own_then_the_global_then_its_makers_values(run):
    run("set", "small", "seed", "5")
    run("set", "top_p", "0.5")
    shown = rows(run("get", "small")[1])
    assert shown["seed"] == ["5", "model_settings.json"]
    assert shown["top_p"] == ["0.5", "settings.json"]
    assert shown["temperature"] == ["0.6", "generation_config.json"]
    assert shown["is_pinned"] == ["false", "default"]
    assert shown["max_concurrent_requests"] == ["8", "default"]
    assert run("get", "small", "temperature")[1] == "0.6\n"
    assert run("get", "other", "top_p")[1] == "0.5\n"


def test_a_single_word_is_a_setting_before_it_is_a_model(run, base):
    write_llama(base / "models" / "port")
    assert run("get", "port")[1] == "8000\n"
    assert run("get", "port", "replicas")[1] == "1\n"


@pytest.mark.parametrize(
    ("words", "effect"),
    [
        (("max_queued_requests", "3"), "within a second"),
        (("port", "9000"), "when the server is started again"),
        (("small", "temperature", "0.5"), "within a second, for requests that come then"),
        (("small", "trust_remote_code", "true"), "when the model is loaded again"),
    ],
)
def test_a_change_is_kept_and_says_when_it_is_felt(run, words, effect):
    code, output, _ = run("set", *words)
    assert code == 0
    *_, key, value = words
    assert output.startswith(key)
    assert output.endswith(f"is {value}; this takes effect {effect}.\n")
    assert run("get", *words[:-1])[1] == f"{value}\n"


def test_changes_are_in_the_files_that_the_server_reads(run, base):
    run("set", "small", "is_pinned", "true")
    run("set", "ttl_seconds", "60")
    assert json.loads((base / "model_settings.json").read_text())["models"]["small"] == {"is_pinned": True}
    assert json.loads((base / "settings.json").read_text())["ttl_seconds"] == 60


def test_null_resets(run):
    run("set", "port", "9000")
    assert run("set", "port", "null")[1].startswith("port is reset; ")
    assert run("get", "port")[1] == "8000\n"


def test_a_negative_number_is_a_value(run):
    assert run("set", "presence_penalty", "-1")[0] == 0
    assert run("get", "presence_penalty")[1] in ("-1\n", "-1.0\n")


def test_a_model_may_be_named_by_its_alias(run):
    run("set", "small", "model_alias", "tiny")
    run("set", "tiny", "seed", "7")
    assert run("get", "small", "seed")[1] == "7\n"


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("set", "max_queue_requests", "3"), "Did you mean 'max_queued_requests'?"),
        (("set", "is_pinned", "true"), "'is_pinned' is a setting of a model"),
        (("set", "small", "port", "1"), "'port' is a setting of the whole server"),
        (("set", "small", "temprature", "1"), "Did you mean 'temperature'?"),
        (("set", "smal", "temperature", "1"), "The model 'smal' does not exist. Models here: other, small."),
        (("set", "port", "70000"), "'port' takes "),
        (("set", "small", "temperature", "warm"), "'temperature' takes a number from 0 to 2, not 'warm'."),
        (("set", "small", "model_alias", "other"), "The alias 'other' can't be used"),
        (("get", "prt"), "Did you mean 'port'? Nor is there a model of this name. Models here: other, small."),
        (("get", "small", "prt"), "There is no setting 'prt'."),
    ],
)
def test_what_can_not_be_is_refused_with_what_can_and_nothing_changes(run, base, words, hint):
    code, _, error = run(*words)
    assert code == 1
    assert error.startswith("Error: ")
    assert len(error.splitlines()) == 1
    assert hint in error
    assert not (base / "settings.json").exists()
    assert not (base / "model_settings.json").exists()


def test_an_alias_that_another_model_has_is_refused(run):
    run("set", "small", "model_alias", "tiny")
    code, _, error = run("set", "other", "model_alias", "tiny")
    assert (code, error) == (1, "Error: The alias 'tiny' can't be used: the model 'small' has it already.\n")
    assert run("set", "small", "model_alias", "tiny")[0] == 0


def test_settings_that_can_not_be_written_are_one_line(run, monkeypatch):
    def full(_store, _model_id, _changes, _revision):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(SettingsStore, "change", full)
    code, _, error = run("set", "port", "1")
    assert (code, error) == (1, "Error: The settings can't be written: [Errno 28] No space left on device\n")


@pytest.mark.parametrize("words", [("set",), ("set", "port"), ("set", "a", "b", "c", "d"), ("get", "a", "b", "c")])
def test_too_few_and_too_many_words_are_a_wrong_use(run, words):
    code, _, error = run(*words)
    assert code == click.UsageError.exit_code
    assert "Error: Give a " in error


def test_long_values_are_shortened_among_others_and_whole_alone(run):
    template = "{{ messages }}\n" * 20
    run("set", "small", "chat_template", template)
    shown = [line for line in run("get", "small")[1].splitlines() if line.startswith("chat_template ")]
    assert "…" in shown[0]
    assert run("get", "small", "chat_template")[1] == template + "\n"
