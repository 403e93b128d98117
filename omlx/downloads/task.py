"""What becomes of a wish for a model, as a value that can be kept on disk and shown."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

from omlx.downloads.progress import Progress


class State(StrEnum):
    """Where a task is."""

    QUEUED = "queued"
    DOWNLOADING = "downloading"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_active(self) -> bool:
        """Whether it goes on by itself."""
        return self in (State.QUEUED, State.DOWNLOADING)

    @property
    def has_ended(self) -> bool:
        """Whether nothing more is to become of it, unless somebody tries again."""
        return self in (State.DONE, State.FAILED, State.CANCELLED)


@dataclass(frozen=True, slots=True)
class Wish:
    """A model that somebody wants.

    Attributes:
        source: The place, by `Source.kind`.
        repository: What it is called there.
        name: What its folder here is to be called.
        revision: A branch, tag or commit there; None for the place's own choice.
        allow, ignore: Patterns of files; see `selection.Selection`.
    """

    source: str
    repository: str
    name: str
    revision: str | None = None
    allow: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Task:
    """What has become of a wish.

    Attributes:
        task_id: Names it.
        created, changed: When it was wished and when its state changed last, Unix seconds.
        progress: How far it is; None before that is known.
        note: What went wrong last and is being dealt with.
        error: Why it failed.
    """

    task_id: str
    wish: Wish
    state: State
    created: float
    changed: float
    progress: Progress | None = None
    note: str | None = None
    error: str | None = None

    def document(self) -> dict[str, Any]:
        """It as JSON values, flat but for the progress."""
        values = asdict(self)
        wish = values.pop("wish")
        return {"id": values.pop("task_id"), **wish, **values}

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> Self:
        """It from what `document` made. Raises `ValueError`, `TypeError` or `KeyError` when it is none."""
        progress = document["progress"]
        wish = Wish(
            source=str(document["source"]),
            repository=str(document["repository"]),
            name=str(document["name"]),
            revision=None if document["revision"] is None else str(document["revision"]),
            allow=tuple(map(str, document["allow"])),
            ignore=tuple(map(str, document["ignore"])),
        )
        return cls(
            task_id=str(document["id"]),
            wish=wish,
            state=State(document["state"]),
            created=float(document["created"]),
            changed=float(document["changed"]),
            progress=None if progress is None else Progress(**progress),
            note=document["note"],
            error=document["error"],
        )
