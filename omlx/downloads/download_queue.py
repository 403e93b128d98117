"""Downloads that take turns: so many at once, the others in the order in which they were wished."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol
from uuid import uuid4

from omlx.downloads.download import Watcher
from omlx.downloads.errors import CancelledError, DownloadError, OccupiedError, TooManyError, UnknownTaskError
from omlx.downloads.names import check_local
from omlx.downloads.progress import Progress
from omlx.downloads.task import State, Task, Wish
from omlx.downloads.task_file import TaskFile

_MOST = 64  # tasks that have not ended
_REMEMBERED = 50  # tasks that have
_LEAVE_SECONDS = 0.5  # for downloads to end when the process is about to; what they have written is good in any case
_log = logging.getLogger(__name__)


class Running(Protocol):
    """A download as `download.Download` is one."""

    def run(self) -> object:
        """Fetch it. Raises `DownloadError`, and `CancelledError` once it was cancelled."""
        ...

    def cancel(self) -> None:
        """Have `run` end soon, with what has come kept."""
        ...


class Fetching(Protocol):
    """How wishes come true."""

    def open(self, wish: Wish, watcher: Watcher) -> Running:
        """A download that has not begun. Raises `DownloadError`."""
        ...

    def discard(self, wish: Wish) -> None:
        """Delete what has come of an unfinished one. Raises `DownloadError` when somebody else fetches it."""
        ...


class DownloadQueue:
    """Fetches what is wished. What is kept of it on disk is enough to go on after the process was killed.

    Calls may come from any thread, and each answers with the task as it is then.

    Args:
        file: Keeps the tasks.
        fetching: Fetches them.
        told: Called after each change, from several threads; must be quick.
        at_once: How many may be fetched at a time; asked whenever one could begin.
    """

    def __init__(
        self, file: TaskFile, fetching: Fetching, told: Callable[[], None], at_once: Callable[[], int] = lambda: 2
    ) -> None:
        self._file = file
        self._fetching = fetching
        self._told = told
        self._at_once = at_once
        self._lock = threading.RLock()
        self._is_closed = False
        self._tasks: dict[str, Task] = {}
        self._threads: dict[str, threading.Thread] = {}  # of those that are fetched, or were and have not ended yet
        self._running: dict[str, Running] = {}
        for task in file.read():
            # What was being fetched when the process ended is fetched on.
            self._tasks[task.task_id] = replace(task, state=State.QUEUED) if task.state is State.DOWNLOADING else task

    def begin(self) -> None:
        """Go on with what was left unfinished, and delete what was given up and couldn't be deleted then."""
        with self._lock:
            for task in self.tasks():
                if task.state is State.CANCELLED and task.progress is not None:
                    self._discard(task)
            self._fill()

    def tasks(self) -> list[Task]:
        """All of them, the oldest first."""
        with self._lock:
            return list(self._tasks.values())

    def add(self, wish: Wish) -> Task:
        """Fetch something as soon as it has its turn; what is wished already goes on.

        Raises `UnsuitableError` for a name that can't be a folder's, `OccupiedError` where another model is to get that folder,
        `TooManyError` when as many wait as may.
        """
        check_local(wish.name)
        with self._lock:
            for task in self._tasks.values():
                if task.wish.name != wish.name or task.state in (State.DONE, State.CANCELLED):
                    continue
                if task.wish == wish:
                    return self.retry(task.task_id)
                if task.state is not State.FAILED:
                    raise OccupiedError(
                        f"{task.wish.repository} is being fetched as {wish.name!r}, in task {task.task_id}. "
                        "Give this one another name, or cancel the other."
                    )
            if sum(not task.state.has_ended for task in self._tasks.values()) >= _MOST:
                raise TooManyError(f"{_MOST} downloads wait already. Cancel one, or let some end.")
            now = time.time()
            task = Task(uuid4().hex[:12], wish, State.QUEUED, created=now, changed=now)
            self._set(task)
            self._forget_the_oldest()
            self._fill()
            return self._tasks[task.task_id]

    def pause(self, task_id: str) -> Task:
        """Let one rest, with what has come kept; one that has ended stays as it is."""
        return self._stop(task_id, State.PAUSED)

    def cancel(self, task_id: str) -> Task:
        """Give one up, and delete what has come of it; one that is done or was cancelled stays as it is."""
        with self._lock:
            task = self._stop(task_id, State.CANCELLED)
            if task.state is State.CANCELLED and task_id not in self._threads:
                self._discard(task)
            return task

    def retry(self, task_id: str) -> Task:
        """Go on with one that rests, failed or was cancelled; one that waits or is fetched stays as it is."""
        with self._lock:
            task = self._find(task_id)
            if not task.state.is_active:
                self._set(replace(task, state=State.QUEUED, changed=time.time(), note=None, error=None))
                self._fill()
            return self._tasks[task_id]

    def forget(self, task_id: str) -> Task:
        """Drop one from the list; unless it is done, it is given up first."""
        with self._lock:
            task = self.cancel(task_id)
            del self._tasks[task_id]
            self._write()
            self._told()
            return task

    def close(self) -> None:
        """End every download, with what has come kept; they go on with the next queue over this file."""
        with self._lock:
            self._is_closed = True
            threads, downloads = list(self._threads.values()), list(self._running.values())
        for download in downloads:
            download.cancel()
        until = time.monotonic() + _LEAVE_SECONDS
        for thread in threads:
            thread.join(max(until - time.monotonic(), 0))

    def _find(self, task_id: str) -> Task:
        if task_id not in self._tasks:
            raise UnknownTaskError(f"There is no download {task_id!a}.")
        return self._tasks[task_id]

    def _stop(self, task_id: str, state: State) -> Task:
        with self._lock:
            task = self._find(task_id)
            stays = (State.DONE, state) if state is State.CANCELLED else (State.DONE, State.FAILED, State.CANCELLED, state)
            if task.state not in stays:
                self._set(replace(task, state=state, changed=time.time()))
                if task_id in self._running:
                    self._running[task_id].cancel()
                self._fill()
            return self._tasks[task_id]

    def _fill(self) -> None:
        """Begin with as many as may be fetched."""
        for task in list(self._tasks.values()):
            if self._is_closed or sum(each.state is State.DOWNLOADING for each in self._tasks.values()) >= self._at_once():
                return
            # One that was stopped a moment ago and is wished again waits for its thread to end.
            if task.state is State.QUEUED and task.task_id not in self._threads:
                self._set(replace(task, state=State.DOWNLOADING, changed=time.time()))
                thread = threading.Thread(target=self._fetch, args=(task.task_id, task.wish), daemon=True)
                self._threads[task.task_id] = thread
                thread.start()

    def _fetch(self, task_id: str, wish: Wish) -> None:
        state, error = State.DONE, None
        try:
            download = self._fetching.open(wish, _Told(self, task_id))
            with self._lock:
                self._running[task_id] = download
                if self._is_closed or not self._is_fetched(task_id):
                    download.cancel()
            download.run()
        except CancelledError:
            state = State.PAUSED  # by whoever had it stop, which has said what becomes of it
        except DownloadError as failure:
            state, error = State.FAILED, str(failure)
        except Exception as failure:
            _log.exception("the download of %s failed in a way that nothing foresaw", wish.repository)
            state, error = State.FAILED, f"It failed in a way that nothing foresaw: {failure!r}. The log says more."
        with self._lock:
            del self._threads[task_id]
            self._running.pop(task_id, None)
            task = self._tasks.get(task_id)
            if task is None or task.state is State.CANCELLED:
                self._discard(task or Task(task_id, wish, State.CANCELLED, 0, 0))
            elif task.state is State.DOWNLOADING and not self._is_closed:
                self._set(replace(task, state=state, changed=time.time(), note=None, error=error))
            self._fill()

    def _is_fetched(self, task_id: str) -> bool:
        return task_id in self._tasks and self._tasks[task_id].state is State.DOWNLOADING

    def _discard(self, task: Task) -> None:
        """Delete what has come of one, unless another task goes on with it. Its progress stays for as long as that is left to do."""
        others = (each for each in self._tasks.values() if each.task_id != task.task_id)
        if any(each.wish.name == task.wish.name and each.state is not State.CANCELLED for each in others):
            return
        try:
            self._fetching.discard(task.wish)
        except DownloadError as error:
            _log.warning("what has come of %s is still there: %s", task.wish.repository, error)
        else:
            if task.task_id in self._tasks:
                self._set(replace(self._tasks[task.task_id], progress=None))

    def _set(self, task: Task) -> None:
        self._tasks[task.task_id] = task
        self._write()
        self._told()

    def _write(self) -> None:
        try:
            self._file.write(self._tasks.values())
        except OSError as error:
            _log.warning("the list of downloads can't be kept: %s", error)  # on a full disk, say; they go on all the same

    def _forget_the_oldest(self) -> None:
        ended = [task_id for task_id, task in self._tasks.items() if task.state.has_ended]
        for task_id in ended[: max(len(ended) - _REMEMBERED, 0)]:
            del self._tasks[task_id]

    def noted(self, task_id: str, **changes: Progress | str) -> None:
        """A download tells how it goes."""
        with self._lock:
            if self._is_fetched(task_id):
                self._tasks[task_id] = replace(self._tasks[task_id], **changes)  # type: ignore[arg-type]
                self._told()


class _Told:
    """See `download.Watcher`."""

    def __init__(self, downloads: DownloadQueue, task_id: str) -> None:
        self._downloads = downloads
        self._task_id = task_id

    def progress(self, progress: Progress) -> None:
        """Pass it on."""
        self._downloads.noted(self._task_id, progress=progress)

    def trouble(self, text: str) -> None:
        """Pass it on, as what went wrong last."""
        self._downloads.noted(self._task_id, note=text)
