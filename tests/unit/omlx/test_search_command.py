"""`omlx search` lists models for people and for programs, and says so where there are none."""

import json
import re

import pytest
from click.testing import CliRunner
from rich.console import Console

from omlx.cli import main
from tests.fakes.file_server import GOOD, Refuse

pytestmark = pytest.mark.usefixtures("hub_environment")


@pytest.fixture(autouse=True)
def models(hub):
    hub.add("mlx-community/Qwen-4bit", {}, library="mlx", downloads=1234567, likes=3)
    hub.add(
        "mlx-community/Qwen-8bit[bold]", {}, library="mlx", downloads=90, likes=20, updated="2025-03-01T00:00:00.000Z", gated=True
    )
    hub.add("Qwen/Qwen", {}, library="transformers", downloads=9_000_000)
    hub.add("org/hidden-Qwen", {}, library="mlx", private=True)


@pytest.fixture
def terminal(monkeypatch):
    """What was a file becomes a terminal of 100 columns."""
    monkeypatch.setattr("rich.console.Console", lambda: Console(force_terminal=True, width=100, color_system=None))


def omlx(*arguments, **environment):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], env=environment, catch_exceptions=False)


def search(hub, *arguments, **environment):
    return omlx("search", *arguments, "--hf-endpoint", hub.url, **environment)


def test_a_line_a_model_with_tabs_where_there_is_no_terminal(hub):
    done = search(hub, "qwen")
    assert (done.exit_code, done.stdout.splitlines()) == (
        0,
        [
            "mlx-community/Qwen-4bit\t1234567\t3\t2025-01-01\t\tmlx",
            "mlx-community/Qwen-8bit[bold]\t90\t20\t2025-03-01\tgated\tmlx",
        ],
    )


def test_a_table_on_a_terminal(hub, terminal):
    lines = search(hub, "qwen").stdout.splitlines()
    assert [re.split(r" {2,}", line.strip()) for line in lines] == [
        ["MODEL", "DOWNLOADS", "LIKES", "UPDATED", "GATED"],
        ["mlx-community/Qwen-4bit", "1,234,567", "3", "2025-01-01"],
        ["mlx-community/Qwen-8bit[bold]", "90", "20", "2025-03-01", "gated"],
    ]


def test_all_of_them_with_which_are_for_mlx(hub, terminal):
    lines = search(hub, "qwen", "--all").stdout.splitlines()
    assert lines[0].split()[-1] == "MLX"
    assert lines[1].split()[0] == "Qwen/Qwen"
    assert ["mlx" in line.split() for line in lines[1:]] == [False, True, True]


def test_what_it_begins_with_and_where_it_ends(hub):
    assert search(hub, "qwen", "--sort", "likes", "--limit", 1).stdout.startswith("mlx-community/Qwen-8bit")
    assert search(hub, "qwen", "--sort", "updated", "--limit", 1).stdout.startswith("mlx-community/Qwen-8bit")
    assert search(hub, "qwen", "--limit", 1).stdout.splitlines()[0].startswith("mlx-community/Qwen-4bit")


def test_several_words_are_one_search(hub):
    assert len(search(hub, "qwen", "4bit").stdout.splitlines()) == 1


def test_a_document_for_programs(hub):
    found = json.loads(search(hub, "qwen", "--json").stdout)
    assert (found["source"], found["endpoint"]) == ("hf", hub.url)
    assert found["models"][0] == {
        "name": "mlx-community/Qwen-4bit",
        "downloads": 1234567,
        "likes": 3,
        "updated": 1735689600.0,
        "mlx": True,
        "gated": False,
    }
    assert json.loads(search(hub, "nothing", "--json").stdout)["models"] == []


def test_nothing_found_is_no_failure(hub):
    done = search(hub, "no", "such")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == f"No MLX model on {hub.url} has to do with 'no such'. --all searches for others too.\n"
    assert search(hub, "nothing", "--all").stderr == f"No model on {hub.url} has to do with 'nothing'.\n"


def test_the_token_that_is_kept_is_sent_and_not_shown(hub):
    CliRunner().invoke(main, ["token", "set", "hf"], input=GOOD)
    done = search(hub, "hidden")
    assert done.stdout.startswith("org/hidden-Qwen")
    assert GOOD not in done.output


def test_where_the_hub_is_may_be_a_setting(hub):
    omlx("settings", "set", "hf_endpoint", hub.url)
    assert omlx("search", "4bit").stdout.startswith("mlx-community/Qwen-4bit")
    assert omlx("search", "4bit", HF_ENDPOINT="http://127.0.0.1:1").exit_code == 1


def test_a_hub_that_can_not_be_asked_is_one_line(hub):
    hub.everything = Refuse(429, {"retry-after": "3600"})
    done = search(hub, "qwen")
    assert (done.exit_code, len(done.stderr.splitlines())) == (1, 1)
    assert f"{hub.url} answered 429" in done.stderr


def test_modelscope_is_searched_where_it_is(modelscope):
    modelscope.add("org/tiny", {}, library="mlx", downloads=5)
    done = omlx("search", "tiny", "--source", "modelscope", "--json", "--ms-endpoint", modelscope.url)
    document = json.loads(done.stdout)
    assert (document["source"], document["endpoint"]) == ("modelscope", modelscope.url)
    assert [(each["name"], each["downloads"], each["mlx"]) for each in document["models"]] == [("org/tiny", 5, True)]
    omlx("settings", "set", "ms_endpoint", modelscope.url)
    assert omlx("search", "tiny", "--source", "modelscope").stdout.startswith("org/tiny\t5\t")


@pytest.mark.parametrize(
    "wrong", [(), ("x", "--limit", "0"), ("x", "--limit", "101"), ("x", "--sort", "size"), ("x", "--source", "demo")]
)
def test_what_is_mistyped_is_said(hub, wrong):
    assert search(hub, *wrong).exit_code == 2
