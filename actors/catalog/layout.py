"""Where in a folder of models the models' own folders are: directly, under organizations, or as a Hugging Face cache keeps them."""

import os
from dataclasses import dataclass
from pathlib import Path

_CACHED = "models--"
_MAIN = "refs/main"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model may be.

    Attributes:
        folder: What `Layout` was asked to look at; of a cache, a repository's folder.
        label: What tells it apart from others of its name, outermost first and its name last.
        in_cache: Whether the model's files are in a snapshot beneath.
    """

    folder: Path
    label: tuple[str, ...]
    in_cache: bool = False

    @property
    def name(self) -> str:
        """The model's, without what tells it apart."""
        return self.label[-1]


def place_of(folder: Path) -> Place:
    """A folder as a place: a repository of a Hugging Face cache if it is called like one."""
    if folder.name.startswith(_CACHED):
        return Place(folder, (*folder.parent.parts, *folder.name.removeprefix(_CACHED).split("--", 1)), in_cache=True)
    return Place(folder, folder.parts)


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, by name, links followed; not those whose name begins with a dot. Raises `OSError`."""
    with os.scandir(folder) as entries:
        return [
            Path(path) for path in sorted(entry.path for entry in entries if not entry.name.startswith(".") and _is_folder(entry))
        ]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link to itself


def snapshot(repository: Path) -> Path | None:
    """The snapshot that a cache's repository stands for: the one that its main branch names, else the newest. May raise `OSError`."""
    try:
        named = repository / "snapshots" / (repository / _MAIN).read_text("ascii").strip()
        if named.name and named.is_dir():
            return named
    except (FileNotFoundError, ValueError):
        pass
    try:
        every = subfolders(repository / "snapshots")
    except FileNotFoundError:
        return None
    return max(every, key=lambda each: (each.stat().st_mtime_ns, each.name), default=None)


def repository_of(folder: Path) -> Path | None:
    """The cache's repository that a folder is a snapshot of; None for any other folder."""
    repository = folder.parent.parent
    return repository if folder.parent.name == "snapshots" and repository.name.startswith(_CACHED) else None


def decides_snapshot(repository: Path) -> tuple[str, ...]:
    """The paths whose change may make `snapshot` choose another."""
    return tuple(str(repository / each) for each in ("snapshots", "refs", _MAIN))


def blobs(repository: Path) -> Path:
    """Where a cache's repository keeps its files, whole or not."""
    return repository / "blobs"
