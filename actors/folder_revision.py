"""How to tell whether a model's folder has changed, without reading a file."""

import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from actors.models import ModelInfo

_COUNTING = (".safetensors", ".json", ".jinja", ".py", ".txt", ".model")


def counts(name: str) -> bool:
    """Whether a file of this name is part of a model: weights, configuration, tokenizer, template, code."""
    return name.endswith(_COUNTING) and not name.startswith(".")


def revision_of(files: Mapping[str, os.stat_result]) -> str:
    """The revision of a folder with these files, by name; those that don't count are left out."""
    counting = sorted((name, each.st_size, each.st_mtime_ns) for name, each in files.items() if _is_part(name, each))
    return hashlib.blake2b(repr(counting).encode(), digest_size=8).hexdigest()


def folder_revision(folder: Path) -> str:
    """The revision of a folder as it is now: one listing, links followed. Raises `OSError` when it can't be read."""
    with os.scandir(folder) as entries:
        return revision_of(
            {entry.name: status for entry in entries if counts(entry.name) and (status := _status(entry)) is not None}
        )


def is_current(model: ModelInfo) -> bool:
    """Whether a model's folder is still as it was found. Never raises."""
    try:
        return folder_revision(model.path) == model.revision
    except OSError:
        return False


def _is_part(name: str, status: os.stat_result) -> bool:
    return counts(name) and not stat.S_ISDIR(status.st_mode)


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat()
    except OSError:
        return None  # a link that leads nowhere, or a file that has just gone
