"""How one file comes: continued where it broke off, checked at its end, fetched anew once if that fails."""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from omlx.downloads.checksum import Digest
from omlx.downloads.errors import CancelledError, ChecksumError, EndpointError, TransientError
from omlx.downloads.pace import Pace
from omlx.downloads.progress import Tally
from omlx.downloads.repository import RemoteFile, Repository
from omlx.downloads.retries import Retries

_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Line:
    """What the transfers of a download share.

    Attributes:
        stop: Set, they end at the next chunk.
        trouble: Told in a sentence what went wrong and what is done about it.
    """

    repository: Repository
    commit: str
    tally: Tally
    pace: Pace
    retries: Retries
    stop: threading.Event
    trouble: Callable[[str], None]

    def wait(self, seconds: float) -> None:
        """Wait, or raise `CancelledError` as soon as that is wished."""
        if self.stop.wait(seconds) if seconds > 0 else self.stop.is_set():
            raise CancelledError("The download was ended. What has come is kept.")


def fetch(line: Line, file: RemoteFile, part: Path) -> None:
    """Complete a part. Raises `DownloadError`, or `OSError` when it can't be written; what has come stays there.

    Only a part that is complete and wrong is emptied: nothing tells which of its bytes are good.
    """
    for is_last in (False, True):
        with _opened(part) as out:
            writer = _Writer(line, file, out)
            writer.catch_up()
            writer.fill()
            if writer.is_right():
                return
            writer.rewind()
        if not is_last:
            line.trouble(f"{file.path} isn't what it should be (its checksum differs); it is fetched anew")
    raise ChecksumError(
        f"{file.path} came twice and isn't what the list of files says: its checksum differs. Whatever is on the way changes it, "
        f"or the file there is damaged. The other files are kept."
    )


def _opened(part: Path) -> FileIO:
    """Open a part for reading and writing; no buffer, so that a process that is killed loses nothing, and no link is followed."""
    return FileIO(os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666), "r+")


class _Writer:
    """A part that is being completed; `_position` is its length, and the digest is of all of it."""

    def __init__(self, line: Line, file: RemoteFile, out: FileIO) -> None:
        self._line = line
        self._file = file
        self._out = out
        self._position = 0
        self._digest: Digest = file.checksum.digest(file.size)

    def catch_up(self) -> None:
        """Read what is there, as far as it can be of this file."""
        self._out.seek(0)
        while self._position < self._file.size:
            self._line.wait(0)
            data = self._out.read(min(_READ_BYTES, self._file.size - self._position))
            if not data:
                break
            self._digest.update(data)
            self._position += len(data)
        self._out.truncate(self._position)

    def fill(self) -> None:
        """Fetch the rest, in as many pieces as it takes."""
        failed, furthest = 0, self._position
        while self._position < self._file.size:
            try:
                self._read()
            except TransientError as error:
                # A place that always begins at the start again must not make this go on for ever.
                failed = failed + 1 if self._position <= furthest else 1
                furthest = max(furthest, self._position)
                delay = self._line.retries.delay(failed, error)
                self._line.trouble(f"{self._file.path}: {error}; it goes on in {delay:.0f} s")
                self._line.wait(delay)

    def is_right(self) -> bool:
        """Whether the whole comes to the checksum."""
        return self._digest.hexdigest() == self._file.checksum.value

    def rewind(self) -> None:
        """Empty it."""
        self._line.tally.found(-self._position)
        self._out.seek(0)
        self._out.truncate()
        self._position = 0
        self._digest = self._file.checksum.digest(self._file.size)

    def _read(self) -> None:
        with self._line.repository.read(self._line.commit, self._file, self._position) as body:
            if body.start != self._position:
                self.rewind()
            for chunk in body.chunks:
                self._line.wait(0)
                if self._position + len(chunk) > self._file.size:
                    raise EndpointError(f"More came of {self._file.path} than the {self._file.size} bytes that it should have.")
                self._write(chunk)
                self._line.wait(self._line.pace.take(len(chunk)))
        if self._position < self._file.size:
            raise TransientError("the connection ended early")

    def _write(self, chunk: bytes) -> None:
        rest = memoryview(chunk)
        while rest:
            written = self._out.write(rest) or 0
            self._digest.update(rest[:written])
            self._position += written
            self._line.tally.came(written)
            rest = rest[written:]
