"""How rows go through an embedding model or a reranker in one forward: padded on the right, the padding never seen."""

from collections.abc import Sequence
from typing import Any

import mlx.core as mx
import numpy as np

from actors.contracts import EmbedJob, RerankJob
from actors.engine.embedding_rules import EmbeddingRules
from actors.engine.encoder_backend import Row
from actors.engine.encoder_text import Read

Array = np.ndarray[Any, Any]


def padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[Array, Array]:
    """Rows of tokens as one array, and where it has tokens: both int32, (rows, the longest)."""
    lengths = np.array([len(row) for row in rows])
    mask = np.arange(lengths.max()) < lengths[:, None]
    tokens = np.full(mask.shape, pad, np.int32)
    tokens[mask] = np.concatenate([np.asarray(row, np.int32) for row in rows])
    return tokens, mask.astype(np.int32)


class Embedder:
    """A model of mlx-vlm that gives a vector a text, of length one.

    Args:
        network: Called with tokens and a mask, it gives `text_embeds`.
        read: Makes rows of a job's texts.
        rules: The model's own.
        pad: The token that its padding is made of.

    Raises:
        ValueError: When it gives something else.
    """

    def __init__(self, network: Any, read: Read, rules: EmbeddingRules, pad: int) -> None:
        self._network = network
        self._read = read
        self._rules = rules
        self._pad = pad
        (probe,) = self.encode([Row([0 if pad else 1])])
        self._dimensions = len(probe) // 4

    def read(self, job: EmbedJob | RerankJob, start: int, stop: int) -> Sequence[Row]:
        """See `actors.engine.encoder_backend.Encoder`."""
        assert isinstance(job, EmbedJob)
        self._rules.check(job.dimensions, self._dimensions)
        return self._read(job, start, stop)

    def encode(self, rows: Sequence[Row]) -> Sequence[bytes]:
        """See `actors.engine.encoder_backend.Encoder`."""
        tokens, mask = padded([row.tokens for row in rows], self._pad)
        vectors = self._network(mx.array(tokens), attention_mask=mx.array(mask)).text_embeds
        if vectors is None or vectors.ndim != 2:
            raise ValueError("it gives no vector for a text as a whole")
        return [_cut(vector, row.dimensions) for vector, row in zip(_numbers(vectors), rows, strict=True)]


class PairClassifier:
    """A model of mlx-vlm that judges a pair of texts with one logit.

    Args:
        network: Called with tokens, a mask and segments, it gives `logits`.
        read: Makes rows of a job's query and documents.
        pad: The token that its padding is made of.
    """

    def __init__(self, network: Any, read: Read, pad: int) -> None:
        self._network = network
        self._read = read
        self._pad = pad

    def read(self, job: EmbedJob | RerankJob, start: int, stop: int) -> Sequence[Row]:
        """See `actors.engine.encoder_backend.Encoder`."""
        return self._read(job, start, stop)

    def encode(self, rows: Sequence[Row]) -> Sequence[bytes]:
        """See `actors.engine.encoder_backend.Encoder`."""
        tokens, mask = padded([row.tokens for row in rows], self._pad)
        more = {}
        if rows[0].segments:
            more["token_type_ids"] = mx.array(padded([row.segments for row in rows], 0)[0])
        logits = self._network(mx.array(tokens), attention_mask=mx.array(mask), **more).logits
        return _scores(logits.reshape(len(rows)))


class YesOrNo:
    """A language model of mlx-lm that is asked whether a document answers a query, and how much likelier its yes is than its no.

    Args:
        network: The whole model; its `model` gives the last layer's states.
        read: Makes rows of a job's query and documents.
        yes: The token of the one answer.
        no: That of the other.
    """

    def __init__(self, network: Any, read: Read, yes: int, no: int) -> None:
        self._network = network
        self._read = read
        self._yes = yes
        self._no = no

    def read(self, job: EmbedJob | RerankJob, start: int, stop: int) -> Sequence[Row]:
        """See `actors.engine.encoder_backend.Encoder`."""
        return self._read(job, start, stop)

    def encode(self, rows: Sequence[Row]) -> Sequence[bytes]:
        """See `actors.engine.encoder_backend.Encoder`."""
        # No token sees those after it, so padding on the right needs no mask.
        tokens, _ = padded([row.tokens for row in rows], 0)
        states = self._network.model(mx.array(tokens))
        last = states[mx.arange(len(rows)), mx.array([len(row.tokens) - 1 for row in rows])]
        tied = "lm_head" not in self._network
        logits = self._network.model.embed_tokens.as_linear(last) if tied else self._network.lm_head(last)
        return _scores(logits[:, self._yes] - logits[:, self._no])


def _scores(logits: mx.array) -> list[bytes]:
    scores = 1 / (1 + np.exp(-_numbers(logits)))
    return [score.tobytes() for score in scores.astype("<f4")]


def _numbers(values: mx.array) -> Array:
    return np.array(values.astype(mx.float32))


def _cut(vector: Array, dimensions: int | None) -> bytes:
    if dimensions is not None and dimensions < len(vector):
        vector = vector[:dimensions]
        vector = vector / max(float(np.linalg.norm(vector)), 1e-9)
    return vector.astype("<f4").tobytes()
