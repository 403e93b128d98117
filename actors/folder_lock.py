"""Whether a model is in use: who has it loaded holds a shared lock on its folder, which anybody can see without knowing of a server."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class FolderLock:
    """A share in a lock on a folder, held until `release` or until the process ends, however it ends.

    Nothing is raised where the lock can't be had: it is for others to know, and no reason to fail.
    """

    def __init__(self, folder: Path) -> None:
        self._descriptor: int | None = None
        with suppress(OSError):  # there is no such folder, or its file system knows no locks
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BaseException:
                os.close(descriptor)
                raise
            self._descriptor = descriptor

    @property
    def is_held(self) -> bool:
        """Whether others can see that the folder is in use."""
        return self._descriptor is not None

    def release(self) -> None:
        """Let it go. May be called again."""
        if self._descriptor is not None:
            os.close(self._descriptor)  # which unlocks it
            self._descriptor = None


@contextmanager
def alone(folder: Path) -> Iterator[bool]:
    """Whether nobody has a folder in use. While it is so, nobody gets a share until the end.

    A folder whose file system knows no locks counts as one that nobody uses. Raises `OSError` where it can't be opened.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield _locked(descriptor)
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # nobody can have a lock there
    return True
