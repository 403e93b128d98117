"""One forward for everything in a step: rows being decoded and chunks of prompts, with no padding between them.

A model of mlx-lm takes (rows, length) tokens and asks one cache a layer for what came before. Here every token of the step is a
row of length 1, with its own position, whichever sequence it belongs to. All that works token by token (embeddings, norms,
projections, experts) sees one long batch, so the weights are read once a step. Attention alone has to know the sequences, and the
cache objects do: `attend_by_cache` lets a model's attention ask them.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import mlx.core as mx
from mlx_lm.models import base
from mlx_lm.models.cache import make_prompt_cache

from scheduler.mlx.attention import (
    Visible,
    attend_chunk,
    attend_chunks,
    attend_rows,
    attends_together,
    padded_length,
)
from scheduler.mlx.slab import Row, Slab, Slabs


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens of one sequence that follow each other: `count` of them, after what its row holds."""

    row: Row
    count: int


@dataclass(frozen=True, slots=True)
class _Group:
    """Rows of one slab that get a token each; they attend together.

    Attributes:
        slab: Theirs.
        first, stop: Which of the step's tokens are theirs.
        rows: Rows of the slab that are read, those of others and of nobody among them.
        longest: Tokens that are read of each.
        places: int32 (all the slab's rows, 1, 1, 1): where each row's token goes.
        visible: What each row read may see; None where every row is as long.
        spread: Which of the group's tokens each row of the slab gets, int32 (all rows,); None where they are in order.
        gather: Which of the rows read is each token's, int32; None where they are in order.
    """

    slab: Slab
    first: int
    stop: int
    rows: slice
    longest: int
    places: mx.array
    visible: Visible | None
    spread: mx.array | None
    gather: mx.array | None

    @classmethod
    def of(cls, rows: Sequence[Row], first: int) -> "_Group":
        """The group of some rows of one slab, in the slab's order, whose tokens begin at `first`."""
        slab = rows[0].slab
        held = len(slab.rows)
        indices = [row.index for row in rows]
        # A write for somebody who gets no token goes after the row's last one, where nothing stands yet.
        places = mx.array([row.length if row is not None else 0 for row in slab.rows], dtype=mx.int32)
        low, high = (indices[0], indices[-1] + 1)
        longest = max(row.length for row in rows) + 1
        lengths = [1] * (high - low)
        spread = [0] * held
        for token, row in enumerate(rows):
            lengths[row.index - low] = row.length + 1
            spread[row.index] = token
        dense = len(rows) == high - low
        alike = dense and min(lengths) == longest
        return cls(
            slab,
            first,
            first + len(rows),
            slice(low, high),
            longest,
            places.reshape(held, 1, 1, 1),
            None if alike else Visible(lengths, longest),
            None if len(rows) == held else mx.array(spread, dtype=mx.int32),
            None if dense else mx.array([index - low for index in indices], dtype=mx.int32),
        )

    def append(self, layer: int, keys: mx.array, values: mx.array) -> None:
        """Take one layer's keys and values of the group's tokens, (tokens, heads, 1, size)."""
        if self.stop - self.first == 1:  # a write to one place costs less than one to many
            row = self.rows.start
            at = self.longest - 1
            self.slab.write(layer, (slice(row, row + 1), slice(None), slice(at, at + 1)), keys, values)
        elif self.spread is None:
            self.slab.append(layer, self.places, keys, values)
        else:
            self.slab.append(layer, self.places, keys[self.spread], values[self.spread])

    def attend(self, layer: int, queries: mx.array, scale: float) -> mx.array:
        """Attention of the group's tokens, (tokens, heads, 1, size), each to its row."""
        keys, values = self.slab.read(layer, self.rows, self.longest)
        if self.gather is None:
            return attend_rows(queries, keys, values, scale, self.visible)
        assert self.spread is not None
        return attend_rows(queries[self.spread[self.rows]], keys, values, scale, self.visible)[self.gather]


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Several tokens of one row."""

    row: Row
    first: int
    stop: int
    start: int

    @classmethod
    def of(cls, span: Span, first: int) -> "_Chunk":
        """A span whose tokens begin at `first` of the step's."""
        return cls(span.row, first, first + span.count, span.row.length)

    def append(self, layer: int, keys: mx.array, values: mx.array) -> None:
        """Take one layer's keys and values of the chunk's tokens, (tokens, heads, 1, size)."""
        end = self.start + self.stop - self.first
        where = (slice(self.row.index, self.row.index + 1), slice(None), slice(self.start, end))
        self.row.slab.write(layer, where, keys.transpose(2, 1, 0, 3), values.transpose(2, 1, 0, 3))

    def attend(self, layer: int, queries: mx.array, scale: float) -> mx.array:
        """Attention of the chunk's tokens, (tokens, heads, 1, size)."""
        end = self.start + self.stop - self.first
        keys, values = self.row.slab.read(layer, slice(self.row.index, self.row.index + 1), end)
        return attend_chunk(queries.transpose(2, 1, 0, 3), keys, values, scale).transpose(2, 1, 0, 3)


@dataclass(frozen=True, slots=True)
class _Chunks:
    """Several tokens of several rows of one slab, which attend together: fewer operations, with padding.

    Attributes:
        slab: Theirs.
        first, stop: Which of the step's tokens are theirs.
        rows: int32 (chunks,), their places in the slab.
        span: Tokens that are read of each.
        token_rows, token_places: int32 (tokens,): where each token's key and value go.
        take: int32 (chunks, length): which of the tokens each chunk's are; any, past its end.
        back: int32 (tokens,): where each token is in `take`, flat.
        mask: bool (chunks, length, span).
    """

    slab: Slab
    first: int
    stop: int
    rows: mx.array
    span: int
    token_rows: mx.array
    token_places: mx.array
    take: mx.array
    back: mx.array
    mask: mx.array

    @classmethod
    def of(cls, spans: Sequence[Span], first: int) -> "_Chunks":
        """The chunks of rows of one slab, whose tokens begin at `first` of the step's."""
        length = max(span.count for span in spans)
        rows: list[int] = []
        places: list[int] = []
        take: list[int] = []
        back: list[int] = []
        for number, span in enumerate(spans):
            begin = len(rows)
            rows += [span.row.index] * span.count
            places += range(span.row.length, span.row.length + span.count)
            take += [begin + min(token, span.count - 1) for token in range(length)]
            back += range(number * length, number * length + span.count)
        end = max(span.row.length + span.count for span in spans)
        starts = mx.array([span.row.length for span in spans], dtype=mx.int32)
        last = starts[:, None] + mx.arange(length)[None]
        return cls(
            spans[0].row.slab,
            first,
            first + len(rows),
            mx.array([span.row.index for span in spans], dtype=mx.int32),
            end,
            mx.array(rows, dtype=mx.int32),
            mx.array(places, dtype=mx.int32),
            mx.array(take, dtype=mx.int32).reshape(len(spans), length),
            mx.array(back, dtype=mx.int32),
            mx.arange(end)[None, None] <= last[..., None],
        )

    def append(self, layer: int, keys: mx.array, values: mx.array) -> None:
        """Take one layer's keys and values of the chunks' tokens, (tokens, heads, 1, size)."""
        self.slab.write(layer, (self.token_rows, slice(None), self.token_places), keys[:, :, 0], values[:, :, 0])

    def attend(self, layer: int, queries: mx.array, scale: float) -> mx.array:
        """Attention of the chunks' tokens, (tokens, heads, 1, size)."""
        keys, values = self.slab.read(layer, self.rows, self.span)
        asked = queries[:, :, 0][self.take].transpose(0, 2, 1, 3)
        mixed = attend_chunks(asked, keys, values, scale, self.mask).transpose(0, 2, 1, 3)
        return mixed.reshape(-1, *mixed.shape[2:])[self.back][:, :, None]


@dataclass(frozen=True, slots=True)
class PackedStep:
    """What the layers of one forward have in common.

    Attributes:
        parts: Who attends with whom, in the order of the tokens.
        padding: Tokens after theirs that are nobody's.
        offset: int32 (tokens,), each token's position in its sequence.
    """

    parts: tuple[_Group | _Chunk | _Chunks, ...]
    padding: int
    offset: mx.array = field(repr=False)

    @classmethod
    def of(cls, singles: Sequence[Row], chunks: Sequence[Span]) -> "PackedStep":
        """The step that gives `singles` a token each, in the order of `place`, and then feeds the chunks."""
        parts: list[_Group | _Chunk | _Chunks] = []
        first = 0
        for _, rows in groupby(singles, key=lambda row: row.slab.capacity):
            group = _Group.of(list(rows), first)
            parts.append(group)
            first = group.stop
        for together in _batches(chunks):
            part = _Chunk.of(together[0], first) if len(together) == 1 else _Chunks.of(together, first)
            parts.append(part)
            first = part.stop
        positions = [row.length for row in singles]
        for span in chunks:
            positions += range(span.row.length, span.row.length + span.count)
        padding = padded_length(first) - first
        return cls(tuple(parts), padding, mx.array(positions + [0] * padding, dtype=mx.int32))


class PackedLayer:
    """What one layer of the model takes for its cache in one step.

    Attributes:
        offset: int32 (tokens,), each token's position in its sequence.
    """

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


def _batches(chunks: Sequence[Span]) -> Iterator[list[Span]]:
    """The chunks, neighbours together where that is faster."""
    batch: list[Span] = []
    for span in chunks:
        more = [*batch, span]
        length, end = max(s.count for s in more), max(s.row.length + s.count for s in more)
        if batch and not (span.row.slab is batch[0].row.slab and attends_together(len(more), length, end)):
            yield batch
            batch = []
        batch.append(span)
    if batch:
        yield batch


def place(row: Row) -> tuple[int, int]:
    """By what rows that get one token are to be in order."""
    return row.slab.capacity, row.index


def forward(model: Any, singles: Sequence[Row], chunks: Sequence[Span], tokens: mx.array) -> mx.array:
    """Feed tokens to rows, which have room for them.

    Args:
        model: The model.
        singles: Rows that get one token, in the order of `place`.
        chunks: The others.
        tokens: integers: the singles', then each chunk's.

    Returns:
        The model's logits, (tokens, 1, vocabulary) or fewer rows if its head is told so, in the tokens' order; there may be
        more tokens than were given, see `padded_length`. Not evaluated.
    """
    step = PackedStep.of(singles, chunks)
    caches = [PackedLayer(layer, step) for layer in range(len(model.layers))]
    if step.padding:
        tokens = mx.pad(tokens, (0, step.padding))
    logits: mx.array = model(tokens[:, None], cache=caches)
    for row in singles:
        row.length += 1
    for span in chunks:
        span.row.length += span.count
    return logits


def attend_by_cache() -> None:
    """Let the attention of every mlx-lm model whose module is loaded ask a `PackedLayer`; other caches are treated as before."""
    for name, module in list(sys.modules.items()):
        if name.startswith("mlx_lm.models.") and module is not base:
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
        forward(model, [], beginnings, mx.array(first[:-2] + second[:-2]))
        forward(model, rows, [], mx.array([first[-2], second[-2]]))
        packed = forward(model, rows[:1], [Span(rows[1], 1)], mx.array([first[-1], second[-1]]))[:2, -1, :]
        plain = mx.concatenate([model(mx.array([p]), cache=make_prompt_cache(model))[:, -1, :] for p in prompts])
        tolerance = 1e-3 if plain.dtype == mx.float32 else 0.1
        packed, plain = packed.astype(mx.float32), plain.astype(mx.float32)
        spread = mx.max(mx.abs(plain - mx.mean(plain, axis=-1, keepdims=True)))
        return bool((mx.max(mx.abs(packed - plain)) <= tolerance * spread).item())
    except (AttributeError, TypeError, ValueError):
        return False
