"""A run of a benchmark, as a value that can be kept on disk and shown."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from statistics import median
from typing import Any, Self

from omlx.benchmark.plan import Plan, Size


class State(StrEnum):
    """Where a run is."""

    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Figures:
    """What one size gave. Tokens, seconds, and tokens a second.

    Attributes:
        prompt_tokens: Of one prompt, as the engine counted them; the mean of the batch, as all that is of one request.
        ttft: From sending to the first token; the median of the batch, as all that is of one request and a time.
        prefill_tokens_per_second: Prompt tokens that were computed, over the time until every request had its first token.
        cached_tokens: Of one prompt that was sent again, those that were found computed.
        hit_ttft: Of a prompt that was sent again.
        hit_tokens_per_second: All its tokens, found or computed, over that time: what the reuse is worth.
        decode_tokens_per_second: Of all requests together, while every one of them is being decoded.
        decode_tokens_per_second_each: Of one request meanwhile.
    """

    prompt_tokens: float
    ttft: float
    prefill_tokens_per_second: float
    cached_tokens: float
    hit_ttft: float
    hit_tokens_per_second: float
    decode_tokens_per_second: float
    decode_tokens_per_second_each: float


@dataclass(frozen=True, slots=True)
class Cell:
    """One size and what became of it.

    Attributes:
        figures: The medians of the repetitions; None where there is an error.
        repetitions: Each one's figures, in order.
        error: Why it could not be measured.
    """

    size: Size
    figures: Figures | None = None
    repetitions: tuple[Figures, ...] = ()
    error: str | None = None

    @classmethod
    def of(cls, size: Size, repetitions: Sequence[Figures]) -> Self:
        """What was measured so many times, at least once."""
        return cls(size, _medians(repetitions), tuple(repetitions))


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes:
        done, total: Of something that takes about as long each.
        size: What is being measured; None while the model is loaded.
        repetition: Which one, from 1; 0 warms up.
        seconds_left: What the rest should take, as it went so far; None before that is known.
    """

    done: int
    total: int
    size: Size | None = None
    repetition: int = 0
    seconds_left: float | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One click on the page.

    Attributes:
        run_id: Names it.
        model: What was measured: `id`, `revision`, `quantization`, `architecture`, `size_bytes`.
        machine: The machine's card, the version of oMLX, and what the engine computes on.
        started, ended: Unix seconds.
        other_requests: The most requests of others that were seen at once meanwhile; where there were any, figures are too low.
        progress: While it runs.
        error: Why it failed.
    """

    run_id: str
    state: State
    model: Mapping[str, Any]
    plan: Plan
    started: float
    ended: float | None = None
    machine: Mapping[str, Any] | None = None
    cells: tuple[Cell, ...] = ()
    other_requests: int = 0
    progress: Progress | None = None
    error: str | None = None

    def document(self) -> dict[str, Any]:
        """It as JSON values."""
        values = asdict(self)
        plan = {**values.pop("plan"), "lengths": list(self.plan.lengths), "batches": list(self.plan.batches)}
        cells = [{**cell.pop("size"), **cell, "repetitions": list(cell["repetitions"])} for cell in values.pop("cells")]
        return {"id": values.pop("run_id"), **values, "plan": plan, "cells": cells}

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> Self:
        """It from what `document` made of a run that has ended. Raises `ValueError`, `TypeError` or `KeyError` when it is none."""
        plan = document["plan"]
        return cls(
            run_id=str(document["id"]),
            state=State(document["state"]),
            model={**document["model"], "id": str(document["model"]["id"])},
            plan=Plan(
                tuple(map(int, plan["lengths"])),
                tuple(map(int, plan["batches"])),
                int(plan["output_tokens"]),
                int(plan["repetitions"]),
            ),
            started=float(document["started"]),
            ended=float(document["ended"]),
            machine=None if document["machine"] is None else dict(document["machine"]),
            cells=tuple(map(_cell, document["cells"])),
            other_requests=int(document["other_requests"]),
            error=None if document["error"] is None else str(document["error"]),
        )


def _cell(document: Mapping[str, Any]) -> Cell:
    return Cell(
        Size(int(document["length"]), int(document["batch"])),
        None if document["figures"] is None else _figures(document["figures"]),
        tuple(map(_figures, document["repetitions"])),
        None if document["error"] is None else str(document["error"]),
    )


def _figures(document: Mapping[str, Any]) -> Figures:
    return Figures(**{field.name: float(document[field.name]) for field in fields(Figures)})


def _medians(measured: Sequence[Figures]) -> Figures:
    return Figures(**{field.name: median(getattr(each, field.name) for each in measured) for field in fields(Figures)})
