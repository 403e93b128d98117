"""What a place that models come from can be asked. Knows no such place itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from omlx.downloads.repository import RemoteFile, Repository


class Sort(StrEnum):
    """What a search begins with."""

    DOWNLOADS = "downloads"
    LIKES = "likes"
    UPDATED = "updated"


@dataclass(frozen=True, slots=True)
class Found:
    """A model that a search found. What the place doesn't tell is None.

    Attributes:
        repository: What it is called there.
        downloads, likes: How often.
        updated: Unix seconds.
        is_mlx: Whether it says that it is for MLX.
        is_gated: Whether its authors ask for an agreement.
    """

    repository: str
    downloads: int | None = None
    likes: int | None = None
    updated: float | None = None
    is_mlx: bool = False
    is_gated: bool = False


@dataclass(frozen=True, slots=True)
class Card:
    """What a place says of one model.

    Attributes:
        found: As a search has it.
        commit: What the files are of.
        files: All of them.
        fetched: The paths of those that a download fetches; empty where it isn't a model for MLX.
        problem: Why it can't be fetched, in a sentence; None if it can.
        memory_bytes: What it is likely to take on this machine once loaded, for a short context; None where that can't be said.
        license: As the place names it.
        text: Its README in Markdown, without what stands before it for programs; cut where it is long.
    """

    found: Found
    commit: str
    files: tuple[RemoteFile, ...]
    fetched: tuple[str, ...]
    problem: str | None
    memory_bytes: int | None
    license: str | None
    text: str


class Source(Protocol):
    """A place that models come from. Calls block, may come from several threads, and raise `DownloadError` or `TransientError`."""

    @property
    def kind(self) -> str:
        """What `Origin.source` calls it: `hf`, `modelscope`."""
        ...

    @property
    def endpoint(self) -> str:
        """Its URL, without a slash at the end."""
        ...

    def repository(self, name: str, revision: str | None = None) -> Repository:
        """One of its models. Asks nothing."""
        ...

    def search(self, words: str, *, sort: Sort = Sort.DOWNLOADS, limit: int = 20, only_mlx: bool = True) -> Sequence[Found]:
        """Models that have to do with some words."""
        ...

    def card(self, name: str, revision: str | None = None) -> Card:
        """What it says of one model."""
        ...

    def nearest(self, name: str) -> Sequence[str]:
        """Names like one that isn't there, the likeliest first; none where it doesn't say in time. Raises nothing."""
        ...
