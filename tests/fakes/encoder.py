"""An encoder without a tensor: its tokens are bytes, its vectors and scores are what little can be told of them."""

import struct
import time
from collections.abc import Sequence

from actors.contracts import EmbedJob, RerankJob, TextPrompt
from actors.engine.encoder_backend import EncoderBackend, Row
from actors.errors import ContextLengthError, InvalidJobError
from actors.models import ModelInfo, ModelType

LONGEST = 512
SEPARATOR = 0


def vector_of(text: str) -> tuple[float, ...]:
    """What the fake embeds a text as: its length, its first and last bytes, and the sum of all."""
    tokens = text.encode()
    return (float(len(tokens)), float(tokens[0]), float(tokens[-1]), float(sum(tokens)))


def score_of(query: str, document: str) -> float:
    """What the fake holds of a document: whether the query stands in it, and the shorter the better."""
    return (query in document) / 2 + 1 / (2 + len(document.encode()))


class ByteEncoder:
    """See `actors.engine.encoder_backend.Encoder`.

    Attributes:
        forwards: The lengths of each forward's rows.
    """

    def __init__(self, type_: ModelType, *, seconds: float = 0.0, breaks_at: int = 0) -> None:
        self.forwards: list[list[int]] = []
        self._type = type_
        self._seconds = seconds
        self._breaks_at = breaks_at

    def read(self, job: EmbedJob | RerankJob, start: int, stop: int) -> Sequence[Row]:
        if isinstance(job, EmbedJob):
            texts = [
                (each.text.encode() if isinstance(each, TextPrompt) else bytes(each.token_ids)) for each in job.inputs[start:stop]
            ]
            return [self._row(text, job, f"{job.param}.{start + place}", job.dimensions) for place, text in enumerate(texts)]
        pairs = [job.query.encode() + bytes([SEPARATOR]) + document.encode() for document in job.documents[start:stop]]
        return [self._row(pair, job, f"documents.{start + place}") for place, pair in enumerate(pairs)]

    def _row(self, tokens: bytes, job: EmbedJob | RerankJob, param: str, dimensions: int | None = None) -> Row:
        if not tokens:
            raise InvalidJobError(f"'{param}' is empty.", param)
        if len(tokens) > LONGEST and not job.truncate:
            raise ContextLengthError(len(tokens), LONGEST, param, answers=False)
        return Row(tuple(tokens[:LONGEST]), dimensions=dimensions)

    def encode(self, rows: Sequence[Row]) -> Sequence[bytes]:
        self.forwards.append([len(row.tokens) for row in rows])
        time.sleep(self._seconds)
        if len(self.forwards) == self._breaks_at:
            raise RuntimeError("out of memory")
        return [self._numbers(row) for row in rows]

    def _numbers(self, row: Row) -> bytes:
        tokens = bytes(row.tokens)
        if self._type is ModelType.RERANKER:
            query, _, document = tokens.partition(bytes([SEPARATOR]))
            return struct.pack("<f", score_of(query.decode(), document.decode()))
        numbers = vector_of(tokens.decode())[: row.dimensions]
        return struct.pack(f"<{len(numbers)}f", *numbers)


def byte_encoder(model: ModelInfo) -> EncoderBackend:
    """What an engine loads in place of an embedding model or a reranker, by its name: `slow`, `breaks`, or any other."""
    slow = 0.02 if model.model_id == "slow" else 0.0
    return EncoderBackend(ByteEncoder(model.type, seconds=slow, breaks_at=2 * (model.model_id == "breaks")), LONGEST, "cpu")
