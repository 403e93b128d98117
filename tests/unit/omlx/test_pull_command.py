"""`omlx pull` takes a name, says what becomes of it, and ends with a code that scripts can go by."""

import json
import signal
from unittest import mock

import pytest
from click.testing import CliRunner

from omlx import demo
from omlx.cli import main
from omlx.downloads.console import DownloadConsole
from omlx.downloads.download import Download
from tests.fakes.downloads import NAME, REPO, WEIGHTS, model_files
from tests.fakes.file_server import GOOD, Cut, Refuse

pytestmark = pytest.mark.usefixtures("hub_environment")


@pytest.fixture(autouse=True)
def model(hub):
    hub.add(REPO, model_files())


def omlx(*arguments, **environment):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], env=environment, catch_exceptions=False)


def test_a_model_is_pulled_and_found(hub, tmp_path):
    done = omlx("pull", REPO, "--hf-endpoint", hub.url)
    folder = tmp_path / ".omlx" / "models" / NAME
    assert (done.exit_code, done.stdout) == (0, f"{NAME} is in {folder}\n")
    assert done.stderr.startswith(f"Downloading {REPO}: 4 files, 4")
    assert [each["id"] for each in json.loads(omlx("models", "--json").stdout)["models"]] == [NAME]


def test_it_may_have_another_name_and_place(hub, tmp_path):
    done = omlx("pull", REPO, "--name", "small", "--model-dir", tmp_path / "m", "--hf-endpoint", f"{hub.url}/")
    assert done.stdout == f"small is in {tmp_path / 'm' / 'small'}\n"


def test_where_the_hub_is_comes_from_the_first_that_says_it(hub, tmp_path):
    nowhere = "http://127.0.0.1:1"
    omlx("settings", "set", "hf_endpoint", hub.url)
    assert omlx("pull", REPO).exit_code == 0
    omlx("settings", "set", "hf_endpoint", nowhere)
    assert omlx("pull", REPO, "--name", "b", HF_ENDPOINT=hub.url).exit_code == 0
    assert omlx("pull", REPO, "--name", "c", HF_ENDPOINT=nowhere, OMLX_HF_ENDPOINT=hub.url).exit_code == 0
    assert omlx("pull", REPO, "--name", "d", "--hf-endpoint", hub.url, OMLX_HF_ENDPOINT=nowhere).exit_code == 0


def test_an_endpoint_that_is_no_url_is_a_mistake_in_typing():
    done = omlx("pull", REPO, HF_ENDPOINT="mirror.example")
    assert done.exit_code == 2
    assert "'hf_endpoint' takes a URL" in done.stderr


def test_an_unknown_name_brings_those_that_are_like_it(hub):
    hub.add("mlx-community/tiny-llama-4bit", {})
    done = omlx("pull", "org/tiny-lama", "--hf-endpoint", hub.url)
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: There is no model org/tiny-lama on ")
    assert done.stderr.endswith(f" Did you mean {REPO} or mlx-community/tiny-llama-4bit?\n")


def test_a_token_opens_a_gated_model_and_is_not_printed(hub):
    hub.repos[REPO].gated = True
    assert omlx("pull", REPO, "--hf-endpoint", hub.url).exit_code == 1
    done = omlx("pull", REPO, "--hf-endpoint", hub.url, HF_TOKEN=GOOD)
    assert done.exit_code == 0
    assert GOOD not in done.output


def test_patterns_and_a_revision_are_heeded(hub, tmp_path):
    hub.add(REPO, model_files(seed=2), revision="v2")
    done = omlx("pull", REPO, "--revision", "v2", "--ignore", "README*", "--ignore", "tok*", "--hf-endpoint", hub.url)
    assert done.exit_code == 0
    folder = tmp_path / ".omlx" / "models" / NAME
    assert {each.name for each in folder.iterdir()} == {".omlx-origin.json", "config.json", WEIGHTS}
    assert (folder / WEIGHTS).read_bytes() == model_files(seed=2)[WEIGHTS]


@pytest.mark.parametrize(("text", "bytes_"), [("500KB", 500_000), ("2MiB/s", 2 << 20), ("1000", 1000)])
def test_a_speed_is_written_as_memory_is(monkeypatch, text, bytes_):
    asked = []
    monkeypatch.setattr(Download, "run", lambda self: asked.append(self._manner.pace.bytes_per_second) or self._target)
    assert omlx("pull", REPO, "--max-speed", text).exit_code == 0
    assert omlx("pull", REPO, OMLX_MAX_SPEED=text).exit_code == 0
    assert asked == [bytes_, bytes_]


@pytest.mark.parametrize("text", ["fast", "50%", "0", "-1"])
def test_a_speed_that_can_not_be_is_a_mistake_in_typing(text):
    done = omlx("pull", REPO, "--max-speed", text)
    assert done.exit_code == 2
    assert "--max-speed" in done.stderr


@pytest.mark.parametrize("more", [("--revision", "v1"), ("--name", "x"), ("--max-speed", "1MB"), ("--allow", "*")])
def test_the_demo_model_takes_no_such_options(more):
    assert omlx("pull", "demo", *more).exit_code == 2


def test_demo_may_be_a_model_on_the_hub_too_and_only_demo_is_the_demo_model(hub, monkeypatch):
    monkeypatch.setattr(demo, "pull_demo", lambda folder, _progress: folder / "the demo model")
    assert "the demo model" in omlx("pull", "demo").stdout
    assert omlx("pull", REPO, "--source", "demo").exit_code == 2
    hub.add("demo", model_files())
    assert omlx("pull", "demo", "--source", "hf", "--hf-endpoint", hub.url).stdout.startswith("demo is in")


def test_ctrl_c_ends_it_with_what_has_come_and_says_so(hub, tmp_path, monkeypatch):
    hub.fault(WEIGHTS, Cut(after=100_000))
    with monkeypatch.context() as patched:
        patched.setattr(DownloadConsole, "trouble", lambda _self, _text: signal.raise_signal(signal.SIGINT))
        done = omlx("pull", REPO, "--hf-endpoint", hub.url)
    assert done.exit_code == 130
    assert f"What has come of {REPO} is kept; the same command goes on from there." in done.stderr
    models = tmp_path / ".omlx" / "models"
    assert [each.name for each in models.iterdir()] == [f".pull-{NAME}"]
    hub.sent.clear()
    assert omlx("pull", REPO, "--hf-endpoint", hub.url).exit_code == 0
    assert hub.sent[WEIGHTS] == len(model_files()[WEIGHTS]) - 100_000


@pytest.mark.parametrize(
    "spelled", [(f"modelscope:{REPO}",), (REPO, "--source", "modelscope"), (f"modelscope:{REPO}", "--source", "modelscope")]
)
def test_a_model_is_pulled_from_modelscope_and_found(modelscope, tmp_path, spelled):
    commit = modelscope.add(REPO, model_files())
    done = omlx("pull", *spelled, "--ms-endpoint", f"{modelscope.url}/")
    folder = tmp_path / ".omlx" / "models" / NAME
    assert (done.exit_code, done.stdout) == (0, f"{NAME} is in {folder}\n")
    origin = json.loads((folder / ".omlx-origin.json").read_text())
    assert (origin["source"], origin["repository"], origin["commit"]) == ("modelscope", REPO, commit)
    assert [each["id"] for each in json.loads(omlx("models", "--json").stdout)["models"]] == [NAME]


def test_a_name_may_say_that_it_is_from_hugging_face(hub):
    assert omlx("pull", f"hf:{REPO}", "--hf-endpoint", hub.url).exit_code == 0


def test_a_name_and_an_option_that_say_different_places_are_a_mistake_in_typing():
    done = omlx("pull", f"modelscope:{REPO}", "--source", "hf")
    assert done.exit_code == 2
    assert "is from modelscope, and --source says hf" in done.stderr


@pytest.mark.parametrize("ended", ["", "/"])
def test_where_modelscope_is_comes_from_the_first_that_says_it(modelscope, ended):
    modelscope.add(REPO, model_files())
    nowhere, here = "http://127.0.0.1:1", modelscope.url + ended
    omlx("settings", "set", "ms_endpoint", here)
    assert omlx("pull", f"modelscope:{REPO}").exit_code == 0
    omlx("settings", "set", "ms_endpoint", nowhere)
    several = {"MODELSCOPE_DOMAIN": here}
    assert omlx("pull", f"modelscope:{REPO}", "--name", "b", **several).exit_code == 0
    several |= {"MODELSCOPE_DOMAIN": nowhere, "MODELSCOPE_ENDPOINT": here}
    assert omlx("pull", f"modelscope:{REPO}", "--name", "c", **several).exit_code == 0
    several |= {"MODELSCOPE_ENDPOINT": nowhere, "OMLX_MS_ENDPOINT": here}
    assert omlx("pull", f"modelscope:{REPO}", "--name", "d", **several).exit_code == 0
    several |= {"OMLX_MS_ENDPOINT": nowhere}
    assert omlx("pull", f"modelscope:{REPO}", "--name", "e", "--ms-endpoint", here, **several).exit_code == 0


def test_a_host_alone_is_an_address_in_modelscope_s_own_variables_and_in_no_other():
    asked = []
    command = main.commands["pull"]
    with mock.patch.object(command, "callback", lambda **params: asked.append(params["ms_endpoint"])):
        omlx("pull", REPO, MODELSCOPE_DOMAIN="www.modelscope.ai")
        omlx("pull", REPO, MODELSCOPE_ENDPOINT="mirror.example")
    assert asked == ["https://www.modelscope.ai", "https://mirror.example"]
    assert omlx("pull", REPO, OMLX_MS_ENDPOINT="mirror.example").exit_code == 2


def test_an_unknown_name_on_modelscope_brings_those_that_are_like_it(modelscope):
    modelscope.add(REPO, model_files())
    done = omlx("pull", "modelscope:org/tiny-lama", "--ms-endpoint", modelscope.url)
    assert done.exit_code == 1
    assert done.stderr.startswith(f"Error: There is no model org/tiny-lama on {modelscope.url}, or it is private.")
    assert done.stderr.endswith(f" Did you mean {REPO}?\n")


def test_a_token_opens_a_gated_model_on_modelscope_and_is_not_printed(modelscope):
    modelscope.add(REPO, model_files(), gated=True)
    command = ("pull", f"modelscope:{REPO}", "--ms-endpoint", modelscope.url)
    assert omlx(*command, HF_TOKEN=GOOD).exit_code == 1
    done = omlx(*command, MODELSCOPE_API_TOKEN=GOOD)
    assert done.exit_code == 0
    assert GOOD not in done.output


def test_half_of_a_model_on_modelscope_goes_on_from_hugging_face(hub, modelscope):
    modelscope.add(REPO, model_files())
    modelscope.fault(WEIGHTS, Cut(after=100_000), Refuse(429, {"retry-after": "7200"}))
    assert omlx("pull", f"modelscope:{REPO}", "--ms-endpoint", modelscope.url).exit_code == 1
    assert omlx("pull", REPO, "--hf-endpoint", hub.url).exit_code == 0
    assert hub.sent[WEIGHTS] == len(model_files()[WEIGHTS]) - 100_000


def test_the_command_that_would_finish_another_model_is_named_with_its_place(hub, modelscope):
    modelscope.add("others/tiny-llama", model_files())
    modelscope.fault(WEIGHTS, Cut(after=100_000), Refuse(429, {"retry-after": "7200"}))
    assert omlx("pull", "modelscope:others/tiny-llama", "--ms-endpoint", modelscope.url).exit_code == 1
    assert "`omlx pull modelscope:others/tiny-llama`" in omlx("pull", REPO, "--hf-endpoint", hub.url).stderr
