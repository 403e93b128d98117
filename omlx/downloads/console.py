"""How a download looks: a bar on a terminal, a line now and then elsewhere. Writes to standard error."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, TaskID, TaskProgressColumn, TextColumn
from rich.progress import Progress as Bars

from omlx.downloads.progress import Progress

_LINE_SECONDS = 60


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
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[how]}"),
        )
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
            self._say(f"{self._name}: {100 * progress.done // max(progress.total, 1)} %, {_how(progress)}")

    def trouble(self, text: str) -> None:
        """Write a line, above the bar if there is one."""
        self._print(text)

    def _move(self, bars: Bars, progress: Progress) -> None:
        if self._task is None:
            self._task = bars.add_task(self._name, total=progress.total, how="")
        # A repository of empty files alone is complete all the same.
        bars.update(self._task, total=progress.total or 1, completed=progress.done if progress.total else 1, how=_how(progress))

    def _say(self, text: str) -> None:
        self._said_at = self._clock()
        self._print(text)

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def _how(progress: Progress) -> str:
    parts = [
        f"{decimal(progress.done)} of {decimal(progress.total)}",
        f"{progress.files_done} of {progress.files_total} files",
        f"{decimal(int(progress.bytes_per_second))}/s",
    ]
    if progress.seconds_left is not None and progress.done < progress.total:
        parts.append(f"{_clock_time(progress.seconds_left)} left")
    return ", ".join(parts)


def _clock_time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
