"""What clients send to have models fetched, and what they are shown: our own shapes."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from omlx.api.openai import Received

_Name = Annotated[str, Field(min_length=1, max_length=255)]
_Patterns = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=255)], ...], Field(max_length=100)]
TaskState = Literal["queued", "downloading", "paused", "done", "failed", "cancelled"]


class DownloadRequest(Received):
    """The body of `POST …/download`."""

    model: Annotated[_Name, Field(description="What the model is called there.")]
    revision: Annotated[_Name | None, Field(description="A branch, tag or commit.")] = None
    name: Annotated[
        _Name | None, Field(description="What its folder here is called; the last part of its name there if not given.")
    ] = None
    allow: Annotated[_Patterns, Field(description="Fetch only such files.")] = ()
    ignore: Annotated[_Patterns, Field(description="Leave out such files.")] = ()


class SearchOptions(BaseModel):
    """What is searched for, in the query string."""

    q: Annotated[str, Field(max_length=255)] = ""
    sort: Literal["downloads", "likes", "updated"] = "downloads"
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    only_mlx: bool = True


class ModelOptions(BaseModel):
    """Which model's card is wanted, in the query string."""

    model: _Name
    revision: _Name | None = None


class FoundModel(BaseModel):
    """A model that a search found; null where the place doesn't say."""

    repository: str
    downloads: int | None
    likes: int | None
    updated: float | None
    is_mlx: bool
    is_gated: bool


class SearchShown(BaseModel):
    """What a search found, and where."""

    endpoint: str
    models: list[FoundModel]


class FileShown(BaseModel):
    """A file of a repository, and whether a download fetches it."""

    path: str
    size: int
    is_fetched: bool


class CardShown(FoundModel):
    """What a place says of one model."""

    commit: str
    files: list[FileShown]
    problem: str | None
    memory_bytes: int | None
    license: str | None
    text: str


class ProgressShown(BaseModel):
    """How far a download is."""

    done: int
    total: int
    files_done: int
    files_total: int
    bytes_per_second: float
    seconds_left: float | None


class TaskShown(BaseModel):
    """A download."""

    id: str
    source: str
    repository: str
    name: str
    revision: str | None
    allow: list[str]
    ignore: list[str]
    state: TaskState
    created: float
    changed: float
    progress: ProgressShown | None
    note: str | None
    error: str | None


class TasksShown(BaseModel):
    """All downloads from one place, the oldest first."""

    tasks: list[TaskShown]
