"""Keeps a model's vocabulary head from computing logits that nobody reads: only a row's last position is sampled."""

from typing import Any

import mlx.core as mx
from mlx import nn

from scheduler.mlx.device import device_kind

_TRANSPOSED_FROM = 12  # rows from which the CPU's matrix product is faster with the vocabulary as its rows


class LastPosition(nn.Module):  # type: ignore[misc]
    """A vocabulary head that is given a whole chunk's hidden states and looks at the last.

    Attributes:
        rows: Indices of the rows whose logits are wanted; None for all of them.
    """

    def __init__(self, head: Any) -> None:
        super().__init__()
        self.head = head
        self.rows: mx.array | None = None

    def __call__(self, hidden: mx.array) -> mx.array:
        """Float (rows, length, size) to float (wanted rows, 1, vocabulary)."""
        last = hidden[:, -1:, :]
        logits: mx.array = self.head(last if self.rows is None else last[self.rows])
        return logits


def look_at_last_position(model: Any) -> LastPosition | None:
    """Change a model of mlx-lm so that it gives logits (rows, 1, vocabulary) for any length of its input.

    A prompt's chunk of 100 tokens spends a fifth of a small model's time on the other positions' logits. A model whose
    head isn't found where mlx-lm's models have it is left as it is, and None is returned.
    """
    language_model = getattr(model, "language_model", model)
    if isinstance(getattr(language_model, "lm_head", None), nn.Module):
        head = LastPosition(_plain(language_model.lm_head, language_model.lm_head))
        language_model.lm_head = head
        return head
    body = getattr(language_model, "model", None)
    embedding = getattr(body, "embed_tokens", None)
    if isinstance(embedding, nn.Embedding):
        head = LastPosition(_plain(embedding, embedding.as_linear))
        embedding.as_linear = head.__call__  # the instance's own, before its class'
        return head
    return None


def _plain(layer: Any, head: Any) -> Any:
    """The head, or a faster form of it where that exists: an unquantized one without bias on the CPU."""
    if device_kind() != "cpu" or type(layer) not in {nn.Linear, nn.Embedding} or "bias" in layer:
        return head

    def product(hidden: mx.array) -> mx.array:
        rows, length, size = hidden.shape
        weight: mx.array = layer.weight
        if rows < _TRANSPOSED_FROM:
            return hidden @ weight.T
        return (weight @ hidden.reshape(rows * length, size).T).T.reshape(rows, length, -1)

    return product
