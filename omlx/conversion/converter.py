"""Runs a library's converter as a process, tells how far it is, and keeps the end of what it says. Never imports MLX."""

import json
import os
import queue
import re
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import actors
from omlx.conversion.errors import ConversionError
from omlx.conversion.target import Target
from omlx.downloads.stages import Progress

Library = Literal["mlx_lm", "mlx_vlm"]
COMMAND = (sys.executable, "-P", "-m", "actors.engine.converter")  # -P: a file in the current folder isn't taken for a module
DONE = "omlx: converted"  # as that module has it

_TELL_SECONDS = 0.2
_LAST_LINES = 8  # of what it says, to be shown when it fails
_STAGE = re.compile(r"\[INFO\] (Loading|Quantizing)")


@dataclass(frozen=True, slots=True)
class Work:
    """What a converter is to do.

    Attributes:
        library: Whose converter.
        source: The model's folder.
        folder: Where the converted one is written; not there yet.
        source_name, name: What the two are called, for people.
        expected: Bytes of weights that it will have, about.
    """

    library: Library
    source: Path
    folder: Path
    source_name: str
    name: str
    target: Target
    expected: int

    def arguments(self) -> tuple[str, ...]:
        """The converter's command line."""
        options: dict[str, object] = {"dtype": self.target.dtype}
        if (quantization := self.target.quantization) is not None:
            options |= {
                "quantize": True,
                "q_mode": quantization.mode,
                "q_bits": quantization.bits,
                "q_group_size": quantization.group_size,
            }
        return (self.library, str(self.source), str(self.folder), json.dumps(options))

    def written(self) -> int:
        """Bytes of weights so far, no more than are expected."""
        return min(sum(file.stat().st_size for file in self.folder.glob("*.safetensors")), self.expected)


def run(work: Work, report: Progress, command: Sequence[str] = COMMAND) -> None:
    """Have a model converted. The process ends when this is left early, and when this process ends, however that is.

    Args:
        work: What to do.
        report: Told of each stage, and of the bytes that are written.
        command: The converter, before its arguments.

    Raises `ConversionError` with its last words when it fails, and `OSError`.
    """
    said: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    process = subprocess.Popen(
        [*command, *work.arguments()],
        stdin=subprocess.PIPE,  # it ends by itself when nobody holds the other end any more
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **_environment()},
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    with process:
        assert process.stdout is not None
        reader = threading.Thread(target=_listen, args=(process.stdout, said), daemon=True)
        reader.start()
        try:
            last = _follow(work, report, said)
        except BaseException:
            process.kill()
            raise
        finally:
            reader.join()
    if DONE in last:  # MLX may abort on its way out, after the work is done
        return
    how = f"was ended by signal {-process.returncode}" if process.returncode < 0 else f"ended with code {process.returncode}"
    hint = ", as when memory runs out" if process.returncode == -9 else ""
    raise ConversionError(f"{work.name} could not be made: the converter {how}{hint}. Its last words:", last)


def _environment() -> Mapping[str, str]:
    """What the process needs: our packages, its lines as they come, and no network, as everything is on disk."""
    path = [str(Path(actors.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(filter(None, path)), "PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1"}


def _listen(output: IO[str], said: "queue.SimpleQueue[str | None]") -> None:
    for line in output:
        said.put(line.rstrip())
    said.put(None)


def _follow(work: Work, report: Progress, said: "queue.SimpleQueue[str | None]") -> tuple[str, ...]:
    """Tell of a converter's stages until it says no more; its last lines."""
    last: deque[str] = deque(maxlen=_LAST_LINES)
    writes = False
    while True:
        try:
            line = said.get(timeout=_TELL_SECONDS)
        except queue.Empty:
            line = ""
        if line is None:
            return tuple(last)
        if stage := _STAGE.fullmatch(line):
            report.stage(f"{stage[1]} {work.source_name if stage[1] == 'Loading' else work.name}", 0)
        elif line:
            last.append(line)
        if written := work.written():
            if not writes:
                report.stage(f"Writing {work.name}", work.expected)
                writes = True
            report.advance(written)
