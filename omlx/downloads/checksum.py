"""What a file's content comes to, as hubs count it: SHA-256 of large files, Git's SHA-1 of small ones."""

import hashlib
import re
from dataclasses import dataclass
from typing import Protocol

_HEX = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


class Digest(Protocol):
    """Takes bytes, and says what they come to."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Take more bytes."""
        ...

    def hexdigest(self) -> str:
        """What all of them come to."""
        ...


@dataclass(frozen=True, slots=True)
class Checksum:
    """A file's checksum: 64 hexadecimal digits are SHA-256 of the content, 40 are SHA-1 of Git's object.

    Raises `ValueError` for anything else, so that it is safe as part of a file's name.
    """

    value: str

    def __post_init__(self) -> None:
        if not _HEX.fullmatch(self.value):
            raise ValueError(f"no checksum: {self.value!a}")

    def digest(self, size: int) -> Digest:
        """What to put the content of `size` bytes through."""
        if len(self.value) == 64:
            return hashlib.sha256()
        # https://git-scm.com/book/en/v2/Git-Internals-Git-Objects: the header is part of what is hashed.
        return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
