"""Keeps a model's vocabulary head from computing logits that nobody reads: only a row's last position is sampled."""

from typing import Any

import mlx.core as mx
from mlx import nn

from scheduler.mlx.cpu import product
from scheduler.mlx.device import device_kind


class LastPosition(nn.Module):  # type: ignore[misc]
    """A vocabulary head that is given a whole chunk's hidden states and looks at the last.

    Attributes:
        rows: Indices of the rows whose logits are wanted; None for all of them.
        places: Indices of the positions that are looked at in place of the last; None for that.
    """

    def __init__(self, head: Any) -> None:
        super().__init__()
        self.head = head
        self.rows: mx.array | None = None
        self.places: mx.array | None = None

    def __call__(self, hidden: mx.array) -> mx.array:
        """Float (rows, length, size) to float (wanted rows, 1 or so many places, vocabulary)."""
        last = hidden[:, -1:, :] if self.places is None else hidden[:, self.places, :]
        logits: mx.array = self.head(last if self.rows is None else last[self.rows])
        return logits


def look_at_last_position(model: Any) -> LastPosition | None:
    """Change a model of mlx-lm so that it gives logits (rows, 1, vocabulary) for any length of its input.

    A prompt's chunk of 100 tokens spends a fifth of a small model's time on the other positions' logits. A model whose
    head isn't found where mlx-lm's models have it is left as it is, and None is returned.
    """
    language_model = getattr(model, "language_model", model)
    body = getattr(language_model, "model", None)
    for owner in (language_model, body):
        if owner is not None and isinstance(getattr(owner, "lm_head", None), nn.Module):
            head = LastPosition(owner.lm_head)
            owner.lm_head = head
            return head
    embedding = getattr(body, "embed_tokens", None)
    if isinstance(embedding, nn.Embedding):
        head = LastPosition(_tied(embedding))
        embedding.as_linear = head.__call__  # the instance's own, before its class'
        return head
    return None


def _tied(embedding: nn.Embedding) -> Any:
    """Tied embeddings as a head, in a faster form on the CPU."""
    if device_kind() != "cpu" or type(embedding) is not nn.Embedding:
        return embedding.as_linear
    return lambda hidden: product(hidden, embedding.weight)
