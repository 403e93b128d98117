"""What clients send to have models measured, and what they are shown: our own shapes. Times are Unix seconds or seconds."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from omlx.api.openai import Received

_Length = Annotated[int, Field(strict=True, ge=16, le=32_768)]
_Batch = Annotated[int, Field(strict=True, ge=1, le=64)]
RunState = Literal["running", "done", "cancelled", "failed"]


class BenchmarkRequest(Received):
    """The body of `POST /admin/api/benchmarks`: every prompt length is measured with every batch size."""

    model: Annotated[str, Field(min_length=1, max_length=255, description="Its id or alias.")]
    lengths: Annotated[tuple[_Length, ...], Field(min_length=1, max_length=8, description="Tokens of the prompts.")] = (128, 512)
    batches: Annotated[tuple[_Batch, ...], Field(min_length=1, max_length=8, description="Requests at once.")] = (1, 4)
    output_tokens: Annotated[int, Field(strict=True, ge=2, le=1024, description="Over which decoding is timed.")] = 32
    repetitions: Annotated[int, Field(strict=True, ge=1, le=20, description="A figure is the median of so many.")] = 3


class PlanShown(BaseModel):
    """What a run measures."""

    lengths: list[int]
    batches: list[int]
    output_tokens: int
    repetitions: int


class FiguresShown(BaseModel):
    """What one size gave; docs/admin.md defines each figure."""

    prompt_tokens: float
    ttft: float
    prefill_tokens_per_second: float
    cached_tokens: float
    hit_ttft: float
    hit_tokens_per_second: float
    decode_tokens_per_second: float
    decode_tokens_per_second_each: float


class CellShown(BaseModel):
    """One size: the medians of its repetitions, each of them, or why it could not be measured."""

    length: int
    batch: int
    figures: FiguresShown | None
    repetitions: list[FiguresShown]
    error: str | None


class SizeShown(BaseModel):
    """Tokens of each prompt, and requests at once."""

    length: int
    batch: int


class BenchmarkProgress(BaseModel):
    """How far a run is: `size` is null while the model is loaded, and repetition 0 warms up."""

    done: int
    total: int
    size: SizeShown | None
    repetition: int
    seconds_left: float | None


class MeasuredModel(BaseModel):
    """The model as it was."""

    id: str
    revision: str | None = None
    quantization: str | None = None
    architecture: str | None = None
    size_bytes: int | None = None


class RunSummary(BaseModel):
    """A run without its figures."""

    id: str
    state: RunState
    model: MeasuredModel
    started: float
    ended: float | None
    other_requests: int
    error: str | None


class RunShown(RunSummary):
    """A whole run."""

    plan: PlanShown
    machine: dict[str, Any] | None
    cells: list[CellShown]
    progress: BenchmarkProgress | None


class BenchmarksShown(BaseModel):
    """The run that goes on, and every run, the newest first."""

    running: RunShown | None
    runs: list[RunSummary]
