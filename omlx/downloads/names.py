"""Which names from outside may become names on this disk."""

import re
import unicodedata
from collections.abc import Iterable

from omlx.downloads.errors import UnsuitableError

_LONGEST = 255  # bytes of a name, on every file system that counts
_DEEPEST = 8
# What these systems take for devices, whatever the ending; a folder with them couldn't be copied there.
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
_FORBIDDEN = frozenset('\\:*?"<>|')
# Letters, marks, numbers, punctuation, symbols and the plain space; nothing that can't be seen or turns text around.
_CATEGORIES = frozenset("LMNPS")


def problem(name: str) -> str | None:
    """Why a name can't be that of one file or folder here, in words; None if it can."""
    if name in ("", ".", ".."):
        return "it leads elsewhere"
    if "/" in name or not _FORBIDDEN.isdisjoint(name):
        return "it has a character that separates folders or stands for others"
    if any(character != " " and unicodedata.category(character)[0] not in _CATEGORIES for character in name):
        return "it has a character that can't be seen"
    if name != unicodedata.normalize("NFC", name):
        return "it is written in another form than file systems keep"
    if name.startswith((".", "~", " ", "-")) or name.endswith((".", " ")):
        return "it begins or ends with a character that hides or changes it"
    if _RESERVED.fullmatch(name):
        return "some systems keep that name for a device"
    if len(name.encode()) > _LONGEST:
        return f"it has more than {_LONGEST} bytes"
    return None


def check_paths(repository: str, paths: Iterable[str]) -> None:
    """See that files of a repository may be written under their names. Raises `UnsuitableError` for the first that may not."""
    met: dict[str, str] = {}
    folders: set[str] = set()
    for path in paths:
        parts = path.split("/")
        reason = next((each for part in parts if (each := problem(part)) is not None), None)
        if len(parts) > _DEEPEST:
            reason = "it is too deep"
        # Two names that differ in capitals alone are one file on a Mac.
        folded = path.casefold()
        if other := met.get(folded):
            reason = f"it is the same as {other!a} on some file systems"
        met[folded] = path
        folders.update("/".join(parts[:depth]).casefold() for depth in range(1, len(parts)))
        if reason is not None:
            raise UnsuitableError(f"{repository} can't be stored: it has a file called {path!a}, and {reason}.")
    if clash := sorted(met.keys() & folders):
        raise UnsuitableError(f"{repository} can't be stored: {met[clash[0]]!a} is a file and a folder in it.")


def check_local(name: str) -> str:
    """A name for a model's folder, as it was given. Raises `UnsuitableError` if it can't be one."""
    if (reason := problem(name)) is not None:
        raise UnsuitableError(f"A model's folder can't be called {name!a}: {reason}. Give another name with --name.")
    return name
