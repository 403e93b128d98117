"""How a model leaves the disk: hidden by one rename, then deleted. Knows folders that discovery found, and no server.

RemovalError
└── ModelInUseError   somebody has it loaded
"""

import os
import re
import secrets
import shutil
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

from actors.catalog.layout import repository_of, subfolders
from actors.errors import OmlxError
from actors.folder_lock import alone

_PREFIX = ".removed-"
_REMOVED = re.compile(rf"{re.escape(_PREFIX)}[0-9a-f]{{16}}")


class RemovalError(OmlxError):
    """A model could not be removed."""


class ModelInUseError(RemovalError):
    """A model is loaded, and nobody said that it is to be removed all the same."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"'{name}' is loaded. Unload it first, or remove it all the same: `omlx rm --force` on the command line, `force=true` over HTTP."
        )


def is_in_use(folder: Path) -> bool:
    """Whether a process on this machine has a model loaded from a folder, or from another snapshot of its repository."""
    try:
        with ExitStack() as stack:
            return not _all_alone(folder, stack)
    except OSError:
        return False  # it is gone, or can't be loaded either


def remove_model(folder: Path, roots: Sequence[Path], *, force: bool = False) -> None:
    """Remove a model from the disk for good, and what earlier removals that were killed have left.

    Of a link, only the link goes. An organization's folder goes with the last model in it. A model in a Hugging Face cache goes with
    everything that the cache keeps of it.

    Args:
        folder: Where discovery has found it; never a path from outside.
        roots: The folders that discovery looked into; these stay, unless one is the model itself.
        force: Whether it goes though it is loaded.

    Raises `ModelInUseError`, or `RemovalError` when the disk, or a link on the way, is against it.
    """
    place = repository_of(folder) or folder
    if place.parent.is_symlink() and place.parent not in roots and place not in roots:
        raise RemovalError(
            f"{place} is beyond the link {place.parent}, which leads to {place.parent.resolve()}: remove the model there, or the link."
        )
    try:
        with ExitStack() as stack:
            if not _all_alone(folder, stack) and not force:
                raise ModelInUseError(place.name)
            if place.is_symlink():
                place.unlink()
            elif place is folder:
                _remove(place)
            else:
                _remove_from_cache(place)
    except OSError as error:
        raise RemovalError(f"{place} could not be removed: {error.strerror or error}.") from error
    _clean_up(place.parent, roots)
    _drop_if_empty(place.parent, roots)


def _all_alone(folder: Path, stack: ExitStack) -> bool:
    """Whether nobody uses a folder, or any snapshot beside it; kept so by locks on the stack. Raises `OSError`."""
    every = subfolders(folder.parent) if repository_of(folder) else [folder]
    return all(stack.enter_context(alone(each)) for each in every)


def _remove(folder: Path) -> None:
    hidden = folder.with_name(_PREFIX + secrets.token_hex(8))
    folder.rename(hidden)
    try:
        shutil.rmtree(hidden)  # follows no links
    except FileNotFoundError:  # somebody else cleans up as well
        shutil.rmtree(hidden, ignore_errors=True)
    except OSError as error:
        raise RemovalError(
            f"{folder} is no model any more, but what is left of it in {hidden} could not be deleted: {error.strerror or error}. "
            "Delete that folder by hand."
        ) from error


def _remove_from_cache(repository: Path) -> None:
    """As the cache's own library does it: files may be shared with other models in a way that it alone knows. Raises `RemovalError`."""
    from huggingface_hub import scan_cache_dir

    cache = scan_cache_dir(repository.parent)
    # That one alone: a commit may be in several repositories, and then the library takes any one of them.
    own = frozenset(found for found in cache.repos if found.repo_path.name == repository.name)
    revisions = [revision.commit_hash for found in own for revision in found.revisions]
    if not revisions:
        raise RemovalError(f"{repository} isn't in order, so huggingface_hub can't remove it. Delete that folder by hand.")
    replace(cache, repos=own).delete_revisions(*revisions).execute()
    if os.path.lexists(repository):
        raise RemovalError(f"{repository} could not be removed as a whole. Delete what is left of it by hand.")


def _clean_up(beside: Path, roots: Sequence[Path]) -> None:
    """Delete what removals that were killed have left beside a model, in folders of models, and in organizations' folders there."""
    for folder in dict.fromkeys([beside, *(each for root in roots for each in (root, *_plain_folders(root)))]):
        for leftover in _leftovers(folder):
            with suppress(OSError), alone(leftover) as free:  # else it is being deleted, or still loaded
                if free:
                    shutil.rmtree(leftover)
                    _drop_if_empty(folder, roots)


def _leftovers(folder: Path) -> list[Path]:
    return [each for each in _plain_folders(folder) if _REMOVED.fullmatch(each.name)]


def _plain_folders(folder: Path) -> list[Path]:
    """The folders in a folder, hidden ones too, but no links to folders."""
    try:
        with os.scandir(folder) as entries:
            return [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _drop_if_empty(folder: Path, roots: Sequence[Path]) -> None:
    """Remove an organization's folder unless there is something in it."""
    known = {root.resolve() for root in roots}
    if folder.resolve() not in known and folder.parent.resolve() in known:
        with suppress(OSError):  # it isn't empty
            folder.rmdir()
