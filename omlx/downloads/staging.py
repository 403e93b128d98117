"""The hidden folder in which a model is put together, and the rename that shows it. Outlives whoever writes in it.

models/.pull-Name/lock          held by the process that fetches
models/.pull-Name/state.json    which model this is, and which of its files are whole and checked
models/.pull-Name/parts/<key>   a file that isn't; the key stands for its path and its checksum
models/.pull-Name/model/…       files that are, under their own names; becomes models/Name
"""

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from actors.catalog.json_file import JsonFile
from omlx.downloads.errors import OccupiedError
from omlx.downloads.hold import hold
from omlx.downloads.repository import Origin, RemoteFile

PREFIX = ".pull-"
_ORIGIN = ".omlx-origin.json"  # in a finished model's folder


class Staging:
    """One model's hidden folder, held by this process; made by `held`. Its calls may raise `OSError`."""

    def __init__(self, folder: Path, origin: Origin) -> None:
        self.folder = folder
        self._origin = origin
        self._model = folder / "model"
        self._parts = folder / "parts"
        self._state = JsonFile(folder / "state.json", ("origin", "whole"))
        self._whole: dict[str, str] = {}  # checksums by path

    def begin(self, files: Iterable[RemoteFile]) -> None:
        """Take over what is there of these files, and let go of the rest. Raises `OccupiedError` if it is another model's."""
        self._read_state()
        wanted = {file.path: file for file in files}
        self._parts.mkdir(exist_ok=True)
        self._model.mkdir(exist_ok=True)
        for path in _files_below(self._model):
            name = path.relative_to(self._model).as_posix()
            file = None if path.is_symlink() else wanted.get(name)
            if file is None or self._whole.get(name, file.checksum.value) != file.checksum.value:
                path.unlink()
            elif name not in self._whole:
                path.replace(self.part(file))  # it came whole, and the process died before it said so
        _drop_empty_folders(self._model)
        keys = {self.part(file).name for file in wanted.values()}
        for part in self._parts.iterdir():
            if part.name not in keys or part.is_symlink():
                part.unlink()
        self._whole = {
            name: wanted[name].checksum.value for name in self._whole if name in wanted and self._is_there(wanted[name])
        }
        self._write_state()

    def part(self, file: RemoteFile) -> Path:
        """Where a file is written."""
        key = hashlib.blake2b(f"{file.path}\0{file.checksum.value}".encode(), digest_size=16).hexdigest()
        return self._parts / key

    def is_whole(self, file: RemoteFile) -> bool:
        """Whether a file is complete and checked."""
        return file.path in self._whole

    def present(self, file: RemoteFile) -> int:
        """Bytes of a file that are here."""
        if self.is_whole(file):
            return file.size
        with suppress(FileNotFoundError):
            return min(self.part(file).stat().st_size, file.size)
        return 0

    def finish(self, file: RemoteFile) -> None:
        """Take a file's part as whole and checked; it lasts from here on. One call at a time."""
        place = self._model / file.path
        place.parent.mkdir(parents=True, exist_ok=True)
        _sync(self.part(file))
        self.part(file).replace(place)
        self._whole[file.path] = file.checksum.value
        self._write_state()

    def publish(self, target: Path, commit: str) -> None:
        """Show the model in its place. Raises `OccupiedError` if something has come there meanwhile."""
        JsonFile(self._model / _ORIGIN).write({**asdict(self._origin), "commit": commit})
        for folder in {path.parent for path in _files_below(self._model)}:
            _sync(folder)
        try:
            self._model.rename(target)
        except OSError as error:
            if not os.path.lexists(target):
                raise
            raise OccupiedError(f"{target} has come there meanwhile. What was fetched is kept in {self.folder}.") from error
        _sync(target.parent)
        shutil.rmtree(self.folder, ignore_errors=True)

    def discard(self) -> None:
        """Delete all that has come. Raises `OccupiedError` if it is of another model."""
        self._read_state()
        shutil.rmtree(self.folder, ignore_errors=True)

    def drop_if_empty(self) -> None:
        """Leave no folder behind when nothing has come."""
        if not any(path.lstat().st_size for place in (self._parts, self._model) for path in _files_below(place)):
            shutil.rmtree(self.folder, ignore_errors=True)

    def _is_there(self, file: RemoteFile) -> bool:
        place = self._model / file.path
        return self._whole.get(file.path) == file.checksum.value and place.is_file() and place.stat().st_size == file.size

    def _read_state(self) -> None:
        try:
            state = self._state.read()
        except ValueError:
            return  # then nothing is known to be whole, and all of it is checked again
        origin = state.get("origin", {})
        theirs = origin.get("repository", self._origin.repository)
        if theirs != self._origin.repository:
            source = "" if origin.get("source") == "hf" else f"{origin.get('source')}:"
            raise OccupiedError(
                f"{self.folder} holds a part of {theirs}, whose folder would have the same name. Finish it with "
                f"`omlx pull {source}{theirs}`, delete that folder, or give this one another name with --name."
            )
        self._whole = {str(path): str(checksum) for path, checksum in state.get("whole", {}).items()}

    def _write_state(self) -> None:
        self._state.write({"version": 1, "origin": asdict(self._origin), "whole": self._whole})


@contextmanager
def held(model_dir: Path, name: str, origin: Origin) -> Iterator[Staging]:
    """The hidden folder for a model of a name, made if need be, while no other process has it.

    Raises `OccupiedError` at once when one has, and `OSError`.
    """
    folder = model_dir / f"{PREFIX}{name}"
    with hold(folder, "fetching"):
        yield Staging(folder, origin)


def origin_of(model: Path) -> dict[str, Any] | None:
    """Where a finished model's folder is from, with its commit; None where that isn't known."""
    try:
        return JsonFile(model / _ORIGIN).read() or None
    except (OSError, ValueError):
        return None


def _files_below(folder: Path) -> Iterator[Path]:
    """All files, and links to whatever; none where there is no such folder."""
    for root, folders, names in os.walk(folder):  # follows no links
        here = Path(root)
        yield from (here / name for name in names)
        yield from (here / name for name in folders if (here / name).is_symlink())


def _drop_empty_folders(below: Path) -> None:
    for root, folders, _ in os.walk(below, topdown=False):
        for name in folders:
            with suppress(OSError):  # it isn't empty
                (Path(root) / name).rmdir()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
