"""One download, from what is asked to the model in its place."""

import errno
import os
import queue
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from omlx.downloads import staging
from omlx.downloads.errors import CancelledError, OccupiedError, StorageError, TransientError
from omlx.downloads.names import check_local, check_paths
from omlx.downloads.pace import Pace
from omlx.downloads.progress import Progress, Tally
from omlx.downloads.repository import Listing, RemoteFile, Repository
from omlx.downloads.retries import Retries
from omlx.downloads.selection import Selection
from omlx.downloads.staging import Staging
from omlx.downloads.transfer import Line, fetch

_LEAVE_SECONDS = 2  # for transfers to end when their process is about to
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Watcher(Protocol):
    """Who is told how a download goes."""

    def progress(self, progress: Progress) -> None:
        """How far it is; told at the beginning, a few times a second, and at the end."""
        ...

    def trouble(self, text: str) -> None:
        """Something went wrong and is being dealt with; may come from several threads."""
        ...


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


@dataclass(frozen=True, slots=True)
class Manner:
    """How it is fetched.

    Attributes:
        parallel: Files at a time.
        pace: How fast all files together may come; other downloads may share it.
        tell_seconds: How often the watcher is told.
        spare_bytes: What has to be free on the disk beyond the files.
        free_bytes: How much is free where a folder is.
    """

    selection: Selection = field(default_factory=Selection)
    parallel: int = 4
    pace: Pace = field(default_factory=lambda: Pace(None))
    retries: Retries = field(default_factory=Retries)
    tell_seconds: float = 0.2
    spare_bytes: int = 64 << 20
    free_bytes: Callable[[Path], int] = _free_bytes


class Download:
    """Fetches a repository's model into a folder of models. `run` blocks; `cancel` may come from another thread.

    Args:
        repository: What is fetched.
        model_dir: The folder that holds model folders; made if need be.
        name: The model's folder in it.
    """

    def __init__(
        self, repository: Repository, model_dir: Path, name: str, watcher: Watcher, manner: Manner | None = None
    ) -> None:
        self._repository = repository
        self._name = check_local(name)
        self._target = model_dir.absolute() / name
        self._watcher = watcher
        self._manner = manner or Manner()
        self._stop = threading.Event()

    def cancel(self) -> None:
        """Have `run` end with `CancelledError` at the next chunk, or when a silent read ends; what has come is kept."""
        self._stop.set()

    def run(self) -> Path:
        """Fetch it, or what is missing of it. Nothing of it shows in the folder of models before all of it is there and checked.

        Returns:
            The model's folder; at once, and without a request, if it is there already.

        Raises:
            DownloadError: With what has come kept.
            KeyboardInterrupt: The same.
        """
        if self._is_there():
            return self._target
        listing = self._listing()
        try:
            with staging.held(self._target.parent, self._name, self._repository.origin) as held:
                try:
                    if not self._is_there():  # another process may have finished it by now
                        self._fill(held, listing)
                finally:
                    held.drop_if_empty()
        except OSError as error:
            raise self._not_stored(error) from error
        return self._target

    def _is_there(self) -> bool:
        if not os.path.lexists(self._target):
            return False
        found, wanted = staging.origin_of(self._target), self._repository.origin
        if found is None:
            raise OccupiedError(
                f"There is {self._target} already, and nothing says where it is from. Give another name with --name, or delete it."
            )
        if (found.get("source"), found.get("repository")) != (wanted.source, wanted.repository) or (
            wanted.revision not in (None, found.get("revision"), found.get("commit"))
        ):
            raise OccupiedError(
                f"There is {self._target} already: {found.get('repository')} at {found.get('revision') or found.get('commit')}. "
                "Give another name with --name, or delete it."
            )
        return True

    def _listing(self) -> Listing:
        """What is to be fetched; asks again as long as it makes sense."""
        failed = 0
        while True:
            try:
                listing = self._repository.listing()
                break
            except TransientError as error:
                failed += 1
                delay = self._manner.retries.delay(failed, error)
                self._watcher.trouble(f"{error}; trying again in {delay:.0f} s")
                if self._stop.wait(delay):
                    raise CancelledError("The download was ended before it began.") from error
        name = self._repository.origin.repository
        chosen = set(self._manner.selection.choose(name, [file.path for file in listing.files]))
        files = tuple(file for file in listing.files if file.path in chosen)
        check_paths(name, [file.path for file in files])
        return Listing(listing.commit, files)

    def _fill(self, held: Staging, listing: Listing) -> None:
        held.begin(listing.files)
        self._check_space(held, listing.files)
        self._transfer(held, listing)
        held.publish(self._target, listing.commit)

    def _check_space(self, held: Staging, files: Sequence[RemoteFile]) -> None:
        needed = sum(file.size - held.present(file) for file in files) + self._manner.spare_bytes
        free = self._manner.free_bytes(held.folder)
        if needed > free:
            raise StorageError(
                f"There isn't enough space in {self._target.parent}: {needed / 1e9:.2f} GB are needed, and {free / 1e9:.2f} GB are free."
            )

    def _transfer(self, held: Staging, listing: Listing) -> None:
        files = listing.files
        tally = Tally(sum(file.size for file in files), len(files))
        for file in files:
            tally.found(held.present(file))
            if held.is_whole(file):
                tally.finished()
        manner = self._manner
        line = Line(self._repository, listing.commit, tally, manner.pace, manner.retries, self._stop, self._watcher.trouble)
        # The largest first: the last of them would otherwise come alone.
        waiting = deque(sorted((file for file in files if not held.is_whole(file)), key=lambda file: -file.size))
        crew = _Crew(line, held, waiting)
        self._watcher.progress(tally.progress())
        try:
            crew.work(manner.parallel, lambda: self._watcher.progress(tally.progress()), manner.tell_seconds)
        finally:
            self._watcher.progress(tally.progress())

    def _not_stored(self, error: OSError) -> StorageError:
        where = self._target.parent
        if error.errno in _FULL:
            return StorageError(f"The disk of {where} is full. What has come is kept: make room, and fetch it again to go on.")
        return StorageError(f"{self._name} could not be stored in {where}: {error.strerror or error}.")


class _Crew:
    """The threads of a download. The first that fails has the others end."""

    def __init__(self, line: Line, held: Staging, waiting: deque[RemoteFile]) -> None:
        self._line = line
        self._held = held
        self._waiting = waiting
        self._one_at_a_time = threading.Lock()
        self._outcomes: queue.Queue[BaseException | None] = queue.Queue()

    def work(self, parallel: int, tell: Callable[[], None], tell_seconds: float) -> None:
        """Fetch all that waits; raises what the first thread that failed raised."""
        # As daemons they don't keep a process that ends meanwhile; what they write is good up to the last byte.
        threads = [threading.Thread(target=self._run, daemon=True) for _ in range(min(parallel, len(self._waiting)))]
        failure: BaseException | None = None
        try:
            for thread in threads:
                thread.start()
            left = len(threads)
            while left:
                try:
                    outcome = self._outcomes.get(timeout=tell_seconds)
                except queue.Empty:
                    tell()
                    continue
                left -= 1
                if outcome is not None and failure is None:
                    failure = outcome
                    self._line.stop.set()
        except BaseException:
            self._line.stop.set()
            until = time.monotonic() + _LEAVE_SECONDS
            for thread in threads:
                if thread.ident is not None:
                    thread.join(max(until - time.monotonic(), 0))
            raise
        if failure is not None:
            raise failure

    def _run(self) -> None:
        try:
            while True:
                try:
                    file = self._waiting.popleft()
                except IndexError:
                    break
                fetch(self._line, file, self._held.part(file))
                with self._one_at_a_time:
                    self._held.finish(file)
                self._line.tally.finished()
        except BaseException as error:  # to be raised in the thread that waits
            self._outcomes.put(error)
        else:
            self._outcomes.put(None)
