"""What an encoder's engine needs of a loaded model: something that reads texts into rows of tokens, and computes them together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from actors.contracts import EmbedJob, EngineOptions, RerankJob
from actors.models import ModelInfo


@dataclass(frozen=True, slots=True)
class Row:
    """One sequence for the encoder: a text, or a query and a document.

    Attributes:
        tokens: At least one.
        segments: Which of two texts each token is of, where the model wants to know.
        dimensions: To how many numbers the vector is cut, and normalised again; None leaves it whole.
    """

    tokens: Sequence[int]
    segments: Sequence[int] = ()
    dimensions: int | None = None


class Encoder(Protocol):
    """A model and its tokenizer."""

    def read(self, job: EmbedJob | RerankJob, start: int, stop: int) -> Sequence[Row]:
        """Some of a job's inputs or documents as rows; called on one thread at a time, but not on the one that computes.

        Raises `InvalidJobError` that names what can't be encoded, or what the model can't do.
        """
        ...

    def encode(self, rows: Sequence[Row]) -> Sequence[bytes]:
        """What a forward gives for each row, float32, little-endian: a vector, or one score. Belongs to the thread that loaded it."""
        ...


@dataclass(frozen=True, slots=True)
class EncoderBackend:
    """A loaded embedding model or reranker.

    Attributes:
        context_length: Tokens of a row at the most, special ones included.
        device: `cpu`, `metal` or `cuda`, and what multiplies matrices there where that is a choice.
        warnings: What its user should know, a sentence each.
        device_bytes: As `actors.engine.backend.Backend` has it.
    """

    encoder: Encoder
    context_length: int
    device: str
    warnings: tuple[str, ...] = ()
    device_bytes: Callable[[], int] | None = None


LoadEncoder = Callable[[ModelInfo, EngineOptions], EncoderBackend]
