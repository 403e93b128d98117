"""How a download looks: a bar on a terminal, a line now and then elsewhere. Writes to standard error."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.filesize import decimal, pick_unit_and_suffix
from rich.progress import BarColumn, ProgressColumn, TaskID, TaskProgressColumn, TextColumn
from rich.progress import Progress as Bars

from omlx.downloads.progress import Progress

_LINE_SECONDS = 60
_NUMBERS = len("999.9/999.9 GB  999.9 MB/s  99:59:59")
_FILES = len("  999/999 files")
_PERCENT = len(" 100% ")
_BAR = 24  # characters, at most
_NAME = 12  # at least, where there is a bar


class DownloadConsole:
    """A watcher for people. To be used with `with`.

    Args:
        name: What the download is called.
        clock: Seconds that only go up.
    """

    def __init__(self, name: str, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._console = console or Console(stderr=True)
        self._clock = clock
        # All of it stays on one line. Where that is short, the count of files is left out, then the name is cut, then the bar goes.
        self._with_files = self._console.width >= _NUMBERS + _FILES + _PERCENT + _BAR + _NAME
        room = self._console.width - _NUMBERS - _FILES * self._with_files - _PERCENT
        bar = min(_BAR, room - _NAME)
        self._short = _cut(name.rpartition("/")[2], room - max(bar, 0) - 2)
        columns: list[ProgressColumn] = [
            TextColumn("{task.description}", markup=False),
            TaskProgressColumn(),
            TextColumn("{task.fields[how]}"),
        ]
        if bar > 0:
            columns.insert(1, BarColumn(bar_width=bar))
        self._bars = Bars(*columns, console=self._console) if self._console.is_terminal else None
        self._task: TaskID | None = None
        self._said_at: float | None = None

    def __enter__(self) -> Self:
        if self._bars:
            self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bars:
            self._bars.stop()

    def progress(self, progress: Progress) -> None:
        """Move the bar, or write a line: the first, and one a minute."""
        if self._bars:
            self._move(self._bars, progress)
        elif self._said_at is None:
            here = f", of which {decimal(progress.done)} are here" if progress.done else ""
            self._say(f"Downloading {self._name}: {progress.files_total} files, {decimal(progress.total)}{here}")
        elif self._clock() - self._said_at >= _LINE_SECONDS:
            self._say(f"{self._name}: {100 * progress.done // max(progress.total, 1)} %, {self._how(progress)}")

    def trouble(self, text: str) -> None:
        """Write a line, above the bar if there is one."""
        self._print(text)

    def _move(self, bars: Bars, progress: Progress) -> None:
        if self._task is None:
            self._task = bars.add_task(self._short, total=progress.total, how="")
        # A repository of empty files alone is complete all the same.
        bars.update(
            self._task, total=progress.total or 1, completed=progress.done if progress.total else 1, how=self._how(progress)
        )

    def _say(self, text: str) -> None:
        self._said_at = self._clock()
        self._print(text)

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _how(self, progress: Progress) -> str:
        unit, suffix = pick_unit_and_suffix(progress.total, ["bytes", "kB", "MB", "GB", "TB"], 1000)
        digits = 0 if unit == 1 else 1
        parts = [f"{progress.done / unit:.{digits}f}/{progress.total / unit:.{digits}f} {suffix}"]
        if self._with_files:
            parts.append(f"{progress.files_done}/{progress.files_total} files")
        parts.append(f"{decimal(int(progress.bytes_per_second))}/s")
        if progress.seconds_left is not None and progress.done < progress.total:
            parts.append(_clock_time(progress.seconds_left) + ("" if self._bars else " left"))
        return "  ".join(parts)


def _cut(name: str, most: int) -> str:
    return name if len(name) <= most else f"{name[: max(most - 1, 0)]}…"


def _clock_time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
