"""One forward for everything in a step: rows being decoded and chunks of prompts, with hardly any padding between them.

A model of mlx-lm takes (rows, length) tokens and asks one cache a layer for what came before. Here every token of the step is a
row of length 1, with its own position, whichever sequence it belongs to. All that works token by token (embeddings, norms,
projections, experts) sees one long batch, so the weights are read once a step. Attention alone has to know the sequences, and the
cache objects do: `attend_by_cache` lets a model's attention ask them.
"""

import sys
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import mlx.core as mx
from mlx_lm.models import base
from mlx_lm.models.cache import make_prompt_cache

from scheduler.mlx.attention import padded_length
from scheduler.mlx.parts import ChunkBatch, OneChunk, Singles, Span, in_batches
from scheduler.mlx.prompt_inputs import Features
from scheduler.mlx.slab import Row, Slabs


class PackedStep:
    """One step's tokens: whose they are, and what the layers of its forward have in common.

    Attributes:
        parts: Who attends with whom, in the order of the tokens.
        padding: How many tokens after theirs are nobody's.
        offset: int32 (tokens,), each token's position in its sequence.
        ends: Where each single's token is, in the order given, and each chunk's last.

    Args:
        singles: Rows that get one token, in the order of `place`.
        chunks: Those that get several.
    """

    def __init__(self, singles: Sequence[Row], chunks: Sequence[Span]) -> None:
        self.parts: list[Singles | OneChunk | ChunkBatch] = []
        self.ends: list[int] = []
        self._fed = (*singles, *(span.row for span in chunks)), [1] * len(singles) + [span.count for span in chunks]
        source: list[int] = []
        positions: list[int] = []
        given = 0
        for _, rows in groupby(singles, key=lambda row: row.slab.capacity):
            part = Singles.of(list(rows), len(source))
            self.parts.append(part)
            self.ends += [part.first + end for end in part.ends]
            source += [given + number for number in part.source]
            positions += part.positions
            given += len(part.ends)
        for together in in_batches(chunks):
            first = len(source)
            self.parts.append(OneChunk.of(together[0], first) if len(together) == 1 else ChunkBatch.of(together, first))
            for span in together:
                source += range(given, given + span.count)
                positions += range(span.row.length, span.row.length + span.count)
                given += span.count
                self.ends.append(len(source) - 1)
        self.padding = padded_length(len(source)) - len(source)
        source += [0] * self.padding
        self._source = None if source == list(range(given)) else mx.array(source, dtype=mx.int32)
        self.offset = mx.array(positions + [0] * self.padding, dtype=mx.int32)

    def arrange(self, tokens: mx.array) -> mx.array:
        """The tokens as the model is to get them, given the singles' and then each chunk's, integers (tokens,)."""
        return tokens if self._source is None else tokens[self._source]

    def count_as_fed(self) -> None:
        """The rows hold what was fed to them, or will when the device gets there."""
        for row, count in zip(*self._fed, strict=True):
            row.length += count


class PackedLayer:
    """What one layer of the model takes for its cache in one step.

    Attributes:
        offset: int32 (tokens,), each token's position in its sequence.
    """

    _idx = 0  # mlx-vlm asks batched caches for it, rather than wait for `offset` to be computed

    def __init__(self, layer: int, step: PackedStep) -> None:
        self.offset = step.offset
        self._layer = layer
        self._step = step

    def make_mask(self, *_args: Any, **_kwargs: Any) -> None:
        """No mask: `attend` knows who may see what."""

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        """Take every token's key and value, (tokens, heads, 1, size), to its row."""
        for part in self._step.parts:
            part.append(self._layer, keys[part.first : part.stop], values[part.first : part.stop])
        return keys, values

    def attend(self, queries: mx.array, scale: float) -> mx.array:
        """Attention of every token to its own sequence up to itself: (tokens, heads, 1, size) to the same."""
        parts = self._step.parts
        mixed = [part.attend(self._layer, queries[part.first : part.stop], scale) for part in parts]
        if self._step.padding:
            mixed.append(mx.zeros((self._step.padding, *mixed[0].shape[1:]), mixed[0].dtype))
        return mixed[0] if len(mixed) == 1 else mx.concatenate(mixed)


def place(row: Row) -> tuple[int, int]:
    """By what rows that get one token are to be in order."""
    return row.slab.capacity, row.index


def forward(model: Any, step: PackedStep, tokens: mx.array, features: Features | None = None) -> mx.array:
    """Feed tokens to rows, which have room for them.

    Args:
        model: The model.
        step: Whose they are.
        tokens: integers: the singles', then each chunk's.
        features: What stands for them, in that order, where it isn't only the tokens.

    Returns:
        The model's logits, not evaluated: (tokens, 1, vocabulary), in the step's order, or those of the tokens that the model's
        head has been told.
    """
    caches = [PackedLayer(layer, step) for layer in range(len(model.layers))]
    more = {} if features is None else {"features": _arranged(features, step)}
    logits: mx.array = model(step.arrange(tokens)[:, None], cache=caches, **more)
    step.count_as_fed()
    return logits


def _arranged(features: Features, step: PackedStep) -> Features:
    return Features(
        None if features.embeddings is None else step.arrange(features.embeddings),
        None if features.positions is None else step.arrange(features.positions.T).T,
        tuple(map(step.arrange, features.deeper)),
    )


def attend_by_cache() -> None:
    """Let the attention of every model whose module is loaded ask a `PackedLayer`; other caches are treated as before."""
    for name, module in list(sys.modules.items()):
        if name.startswith(("mlx_lm.models.", "mlx_vlm.models.")) and module is not base:
            attend = getattr(module, "scaled_dot_product_attention", None)
            if attend is not None and not hasattr(attend, "asks_cache"):
                module.scaled_dot_product_attention = _asking(attend)  # type: ignore[attr-defined]


def _asking(otherwise: Any) -> Any:
    def attend(queries: mx.array, keys: Any, values: Any, cache: Any, scale: float, mask: Any, **more: Any) -> Any:
        if isinstance(cache, PackedLayer):
            return cache.attend(queries, scale)
        return otherwise(queries, keys, values, cache, scale=scale, mask=mask, **more)

    attend.asks_cache = True  # type: ignore[attr-defined]
    return attend


def can_pack(model: Any, vocabulary: int) -> bool:
    """Whether a model gives the same logits this way as in mlx-lm's own: found out by trying, on two short prompts.

    A model whose attention doesn't ask its cache, or which mixes tokens in other ways than attention, doesn't.
    """
    prompts = [[(7 * n + 3) % vocabulary for n in range(9)], [(5 * n + 1) % vocabulary for n in range(4)]]
    attend_by_cache()
    slabs = Slabs(len(model.layers))
    rows = [slabs.take(16) for _ in prompts]
    first, second = prompts
    try:
        beginnings = [Span(row, len(prompt) - 2) for row, prompt in zip(rows, prompts, strict=True)]
        forward(model, PackedStep([], beginnings), mx.array(first[:-2] + second[:-2]))
        forward(model, PackedStep(rows, []), mx.array([first[-2], second[-2]]))
        step = PackedStep(rows[:1], [Span(rows[1], 1)])
        packed = forward(model, step, mx.array([first[-1], second[-1]]))[mx.array(step.ends), -1, :]
        plain = mx.concatenate([model(mx.array([p]), cache=make_prompt_cache(model))[:, -1, :] for p in prompts])
        tolerance = 1e-3 if plain.dtype == mx.float32 else 0.1
        packed, plain = packed.astype(mx.float32), plain.astype(mx.float32)
        spread = mx.max(mx.abs(plain - mx.mean(plain, axis=-1, keepdims=True)))
        return bool((mx.max(mx.abs(packed - plain)) <= tolerance * spread).item())
    except (AttributeError, TypeError, ValueError):
        return False
