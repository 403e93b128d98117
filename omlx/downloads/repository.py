"""What a place that models come from says of one model, and how its files are read. Knows no such place itself."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from omlx.downloads.checksum import Checksum


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a model is from.

    Attributes:
        source: The kind of place, such as `hf`.
        repository: What the model is called there.
        revision: The branch, tag or commit that was asked for; None leaves the choice to the place.
    """

    source: str
    repository: str
    revision: str | None = None


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a repository.

    Attributes:
        path: Relative to the repository, with slashes.
        size: Bytes.
        checksum: What its content has to come to.
    """

    path: str
    size: int
    checksum: Checksum


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a repository at one commit, which goes on naming them when the revision names others."""

    commit: str
    files: tuple[RemoteFile, ...]


@dataclass(frozen=True, slots=True)
class Body:
    """What came of a file.

    Attributes:
        start: The first byte's place in the file: where reading was asked to begin, or 0 where that wasn't heeded.
        chunks: The bytes from there on, as they come.
    """

    start: int
    chunks: Iterator[bytes]


class Repository(Protocol):
    """One repository at one revision. Calls block, and `read` may come from several threads."""

    @property
    def origin(self) -> Origin:
        """Which one it is."""
        ...

    def listing(self) -> Listing:
        """All its files. Raises `TransientError` or `DownloadError`."""
        ...

    def read(self, commit: str, file: RemoteFile, offset: int) -> AbstractContextManager[Body]:
        """A file's content from an offset on; entering and iterating may raise `TransientError` or `DownloadError`."""
        ...
