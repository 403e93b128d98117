"""How one process at a time has a hidden folder, until it ends, however it ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omlx.downloads.errors import OccupiedError

LOCK = "lock"  # the file in the folder


@contextmanager
def hold(folder: Path, doing: str) -> Iterator[None]:
    """Have a folder, made if need be, while no other process has it. It may be deleted meanwhile.

    Args:
        folder: The folder.
        doing: What whoever has it does with the model, as in "fetching".

    Raises `OccupiedError` at once when another has it, and `OSError`.
    """
    lock = _lock(folder, doing)
    try:
        yield
    finally:
        os.close(lock)  # which unlocks it


def _lock(folder: Path, doing: str) -> int:
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            continue  # whoever had it has just finished, and taken the folder away
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(lock, folder / LOCK):
                return lock
        except BlockingIOError as error:
            os.close(lock)
            raise OccupiedError(f"Another process is {doing} it already, in {folder}.") from error
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether a path leads to an open file; it doesn't once that was deleted."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
