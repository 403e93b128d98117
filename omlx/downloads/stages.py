"""How work in stages looks: a bar on a terminal, a line for each stage elsewhere. Writes to standard error."""

from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars


class Progress(Protocol):
    """Who is told how far a long piece of work is."""

    def stage(self, name: str, total: int) -> None:
        """A stage begins or, under the name of the present one, learns its total; 0 while that is unknown."""
        ...

    def advance(self, done: int) -> None:
        """So much of the present stage's total is done."""
        ...


class ConsoleProgress:
    """Shows progress on standard error: a bar on a terminal, a line for each stage elsewhere. To be used with `with`."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        self._bars = Bars(*columns, console=self._console) if self._console.is_terminal else None
        self._stage: str | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        if self._bars:
            self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bars:
            if error is None:
                self._complete()
            self._bars.stop()

    def stage(self, name: str, total: int) -> None:
        """Begin a stage, or give the present one its total; 0 while that is unknown."""
        begins, self._stage = name != self._stage, name
        if self._bars is None:
            if begins:
                self._console.print(f"{name} …", markup=False, highlight=False, soft_wrap=True)
            return
        if begins or self._task is None:
            self._complete()
            self._task = self._bars.add_task(name, total=total or None)
        else:
            self._bars.update(self._task, total=total or None)

    def advance(self, done: int) -> None:
        """Move the bar."""
        if self._bars and self._task is not None:
            self._bars.update(self._task, completed=done)

    def _complete(self) -> None:
        """Fill the bar of a stage that ended, as one of unknown length would run on for ever."""
        if self._bars and self._task is not None:
            total = self._bars.tasks[-1].total or 1
            self._bars.update(self._task, total=total, completed=total)
