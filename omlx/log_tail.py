"""The log files of a folder: which there are, their latest lines, and what is added to them."""

import os
from pathlib import Path
from typing import BinaryIO

from omlx.log_line import LEVELS, LogLine, finished, parse_rows

_MOST_BYTES = 256_000  # that are read of one file at a time, from its end
_ENDING = ".log"
_EARLIER = ".1"  # at the end of a file's name once another has been begun


class LogTail:
    """The lines of some files, from a while ago on. For one caller at a time; looking blocks.

    Args:
        folder: Where the files are; there need not be any yet.
        source: Whose lines are wanted, of the names in `sources`; everybody's where it is None.
        least: How severe a line has to be, one of `LEVELS`.
    """

    def __init__(self, folder: Path, source: str | None = None, least: str = LEVELS[0]) -> None:
        self._folder, self._source, self._least = folder, source, least
        self._files: dict[str, _Followed] | None = None  # None before the first look
        self.sources: tuple[str, ...] = ()

    def look(self) -> list[LogLine]:
        """What has come since the last look, by time; at first, what the ends of the files have.

        A last line in text is given at the look after the one that found it, for more may be written below it.
        """
        is_first = self._files is None
        files = self._files = self._files or {}
        found = {path.name.removesuffix(_ENDING): path for path in self._folder.glob(f"*{_ENDING}") if path.is_file()}
        self.sources = tuple(sorted(found))
        lines: list[LogLine] = []
        for source in self.sources:
            if self._source in (None, source):
                file = files.setdefault(source, _Followed(found[source], is_new=not is_first))
                lines += parse_rows(file.rows(), source, self._least)
        return sorted(lines, key=lambda line: line.time)


class _Followed:
    """One file, and how far it has been read.

    Args:
        is_new: Whether it has come while others were followed, so that its last line may just be written.
    """

    def __init__(self, path: Path, *, is_new: bool) -> None:
        self._path = path
        self._seen = (0, 0) if is_new else None  # inode and size at the last look
        self._read = 0  # up to which byte

    def rows(self) -> list[str]:
        """Those that have been added, or were there at first: the last `_MOST_BYTES` of them at the most."""
        try:
            with self._path.open("rb") as file:
                return self._added(file)
        except OSError:
            return []  # between the end of one and the beginning of the next

    def _added(self, file: BinaryIO) -> list[str]:
        state = os.fstat(file.fileno())
        seen, self._seen = self._seen, (state.st_ino, state.st_size)
        earlier: list[bytes] = []
        if seen is None or seen[0] != state.st_ino:
            earlier = self._rest_of_earlier(None if seen is None else seen[0], _MOST_BYTES - state.st_size)
            self._read = 0
        elif state.st_size < self._read:
            self._read = 0  # somebody has emptied it
        rows, end = _whole_rows(file, self._read, state.st_size, _MOST_BYTES)
        if seen is not None and seen != self._seen:
            kept = finished(_texts(rows))
            end -= sum(len(row) + 1 for row in rows[kept:])
            rows = rows[:kept]
        self._read = end
        return _texts(earlier + rows)

    def _rest_of_earlier(self, inode: int | None, room: int) -> list[bytes]:
        """What hasn't been read of the file that this one was; at first, as much of its end as there is room for."""
        try:
            with Path(f"{self._path}{_EARLIER}").open("rb") as file:
                state = os.fstat(file.fileno())
                if inode is None:
                    return _whole_rows(file, 0, state.st_size, room)[0]
                return _whole_rows(file, self._read, state.st_size, _MOST_BYTES)[0] if inode == state.st_ino else []
        except OSError:
            return []


def _whole_rows(file: BinaryIO, start: int, size: int, most: int) -> tuple[list[bytes], int]:
    """The rows from a byte on that have an end, those in the last `most` bytes, and where they end."""
    begin = max(start, size - max(most, 0))
    file.seek(begin)
    data = file.read(size - begin)
    *rows, unfinished = data.split(b"\n")
    if not rows:
        return [], start
    end = begin + len(data) - len(unfinished)
    return rows[begin > start :], end  # without the first where its beginning isn't there


def _texts(rows: list[bytes]) -> list[str]:
    return [row.decode(errors="replace") for row in rows]
