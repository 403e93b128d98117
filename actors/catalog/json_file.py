"""A JSON object in a file that people edit too: read when it has changed, replaced as a whole, kept aside when it is broken."""

import fcntl
import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# A file system's clock may tick as seldom as this: within one tick, a second change to a file can't be told by its time.
_TICK_NS = 2_000_000_000


class JsonFile:
    """One file.

    Args:
        path: Where it is, or will be.
        objects: Names whose values must be objects; where one is something else, the file is broken.
    """

    def __init__(self, path: Path, objects: tuple[str, ...] = ()) -> None:
        self.path = path
        self._objects = objects
        self._seen: tuple[int, int, int] | None = None
        self._settled = True

    def changed(self) -> bool:
        """Whether it may be another than was last read or written; costs one `stat`."""
        try:
            present = _stamp(self.path.stat())
        except OSError:
            present = None
        return present != self._seen or not self._settled

    def read(self) -> dict[str, Any]:
        """The object; empty where there is no file. Raises `ValueError` when it is broken, `OSError` when it can't be read."""
        try:
            with self.path.open("rb") as file:
                status = os.fstat(file.fileno())
                data = file.read()
        except FileNotFoundError:
            self._seen, self._settled = None, True
            return {}
        self._see(status)
        try:
            found = json.loads(data.decode(), parse_float=_finite, parse_constant=_finite)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
        if not isinstance(found, dict):
            raise ValueError("it holds no object")  # noqa: TRY004 - the file is broken, whatever is wrong with it
        for name in self._objects:
            if not isinstance(found.get(name, {}), dict):
                raise ValueError(f"its '{name}' is no object")  # noqa: TRY004
        return found

    def write(self, content: Mapping[str, Any]) -> None:
        """Replace it, so that at any time it is the old one or the new one, whole. Raises `OSError`; then it is the old one."""
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        new = self.path.with_name(f"{self.path.name}.new")
        try:
            new.unlink(missing_ok=True)  # somebody may have died writing it
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123 - of a descriptor
                file.write(text.encode(errors="backslashreplace"))  # a lone surrogate becomes JSON's own escape
                file.flush()
                os.fsync(file.fileno())
                status = os.fstat(file.fileno())
            os.replace(new, self.path)  # noqa: PTH105 - one rename, and so atomic
        except OSError:
            new.unlink(missing_ok=True)
            raise
        _sync_folder(self.path.parent)
        self._see(status)

    def set_aside(self) -> Path:
        """Give it another name, so that nothing of it is lost; that name."""
        aside = self.path.with_name(f"{self.path.name}.corrupt-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}")
        os.replace(self.path, aside)  # noqa: PTH105
        return aside

    def _see(self, status: os.stat_result) -> None:
        self._seen = _stamp(status)
        self._settled = abs(time.time_ns() - status.st_mtime_ns) > _TICK_NS


@contextmanager
def folder_lock(path: Path) -> Iterator[None]:
    """Keep every other process and thread out that asks for the same lock file; it and its folder are made. Raises `OSError`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)  # which unlocks it


def _stamp(status: os.stat_result) -> tuple[int, int, int]:
    return (status.st_mtime_ns, status.st_size, status.st_ino)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number in JSON")
    return number


def _sync_folder(folder: Path) -> None:
    """Make a rename in it last."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
