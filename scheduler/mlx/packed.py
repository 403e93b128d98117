"""One forward for everything in a step: rows being decoded and chunks of prompts, with no padding between them.

A model of mlx-lm takes (rows, length) tokens and asks one cache a layer for what came before. Here every token of the step is a
row of length 1, with its own position, whichever sequence it belongs to. All that works token by token (embeddings, norms,
projections, experts) sees one long batch, so the weights are read once a step. Attention alone has to know the sequences, and the
cache objects do: `scheduler.mlx.cpu.tune` lets a model's attention ask them. Each sequence's KV is a row of one slab a layer, from
its first position on, so joining and leaving the batch moves nobody's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
from mlx_lm.models.cache import make_prompt_cache

from scheduler.mlx.cpu import attention

_GROWTH = 256  # tokens by which the slabs grow, at the least


class Slab:
    """The keys and values of all sequences: (rows, heads, tokens, size) for each in every layer.

    Attributes:
        lengths: Tokens that each row holds; 0 for a free one.
    """

    def __init__(self, layers: int) -> None:
        self.lengths: list[int] = []
        self._free: list[int] = []
        self._capacity = 0
        self._keys: list[mx.array | None] = [None] * layers
        self._values: list[mx.array | None] = [None] * layers

    def take_row(self, kv: Sequence[mx.array] = ()) -> int:
        """A free row, which begins with some KV as `copy` gives it."""
        if not self._free:
            self._free.append(len(self.lengths))
            self.lengths.append(0)
        row = min(self._free)
        self._free.remove(row)
        if kv:
            self._begin(row, kv)
        return row

    def free_row(self, row: int) -> None:
        """Let others have a row."""
        self.lengths[row] = 0
        self._free.append(row)

    def reserve(self, tokens: int) -> None:
        """Make room for so many tokens in every row."""
        if tokens > self._capacity:
            wanted = max(tokens, self._capacity * 3 // 2)
            self._capacity = -(-wanted // _GROWTH) * _GROWTH

    def write(self, layer: int, where: Any, keys: mx.array, values: mx.array) -> None:
        """Put one layer's keys and values to some place of the slab, an index of (rows, heads, tokens, size)."""
        for store, new in ((self._keys, keys), (self._values, values)):
            slab = self._fitted(store[layer], new)
            slab[where] = new
            store[layer] = slab

    def read(self, layer: int, rows: slice, tokens: int) -> tuple[mx.array, mx.array]:
        """One layer's keys and values of some rows, the first `tokens` of each."""
        keys, values = self._keys[layer], self._values[layer]
        assert keys is not None
        assert values is not None
        return keys[rows, :, :tokens], values[rows, :, :tokens]

    def copy(self, row: int, start: int, stop: int) -> list[mx.array]:
        """Keys and values of each layer in turn, (1, heads, stop - start, size), not evaluated."""
        return [mx.contiguous(each[row : row + 1, :, start:stop]) for each in self.arrays()]

    def arrays(self) -> list[mx.array]:
        """Everything that is there, keys and values of each layer in turn."""
        return [each for both in zip(self._keys, self._values, strict=True) for each in both if each is not None]

    def _begin(self, row: int, kv: Sequence[mx.array]) -> None:
        length = kv[0].shape[2]
        self.reserve(length)
        where = (slice(row, row + 1), slice(None), slice(0, length))
        for layer in range(len(self._keys)):
            self.write(layer, where, kv[2 * layer], kv[2 * layer + 1])
        self.lengths[row] = length

    def _fitted(self, slab: mx.array | None, like: mx.array) -> mx.array:
        """The slab, or a larger one with the same contents."""
        rows, tokens = len(self.lengths), self._capacity
        if slab is None:
            return mx.zeros((rows, like.shape[1], tokens, like.shape[-1]), like.dtype)
        missing = (max(0, rows - slab.shape[0]), tokens - slab.shape[2])
        return mx.pad(slab, [(0, missing[0]), (0, 0), (0, missing[1]), (0, 0)]) if any(missing) else slab


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens of one sequence that follow each other: `count` of them, from position `start` of its row."""

    row: int
    start: int
    count: int


class PackedLayer:
    """What one layer of the model takes for its cache in one step.

    Attributes:
        offset: int32 (tokens,), each token's position in its sequence.

    Args:
        slab: Where everybody's KV is.
        layer: Which layer's.
        step: The step's spans, and what all layers have in common.
    """

    def __init__(self, slab: Slab, layer: int, step: "PackedStep") -> None:
        self.offset = step.offset
        self._slab = slab
        self._layer = layer
        self._step = step

    def make_mask(self, *_args: Any, **_kwargs: Any) -> None:
        """No mask: `attend` knows who may see what."""

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        """Take every token's key and value, (tokens, heads, 1, size), to its row."""
        step = self._step
        singles = len(step.singles)
        if singles:
            self._slab.write(
                self._layer, (step.rows, slice(None), step.offset[:singles]), keys[:singles, :, 0], values[:singles, :, 0]
            )
        begin = singles
        for span in step.chunks:
            where = (slice(span.row, span.row + 1), slice(None), slice(span.start, span.start + span.count))
            keys_, values_ = (each[begin : begin + span.count].transpose(2, 1, 0, 3) for each in (keys, values))
            self._slab.write(self._layer, where, keys_, values_)
            begin += span.count
        return keys, values

    def attend(self, queries: mx.array, scale: float) -> mx.array:
        """Attention of every token to its own sequence up to itself: (tokens, heads, 1, size) to the same."""
        step = self._step
        singles = len(step.singles)
        mixed = []
        if singles:
            keys, values = self._slab.read(self._layer, slice(0, step.highest), step.longest)
            asked = queries[:singles]
            if singles < step.highest:  # some rows in between are others' or nobody's
                asked = mx.zeros((step.highest, *queries.shape[1:]), queries.dtype)
                asked[step.rows] = queries[:singles]
            answered = attention(asked, keys, values, scale, step.mask)
            mixed.append(answered if singles == step.highest else answered[step.rows])
        begin = singles
        for span in step.chunks:
            keys, values = self._slab.read(self._layer, slice(span.row, span.row + 1), span.start + span.count)
            mine = queries[begin : begin + span.count].transpose(2, 1, 0, 3)
            mask = "causal" if span.count > 1 else None
            mixed.append(attention(mine, keys, values, scale, mask).transpose(2, 1, 0, 3))
            begin += span.count
        return mixed[0] if len(mixed) == 1 else mx.concatenate(mixed)


class PackedStep:
    """What the layers of one forward have in common.

    Args:
        singles: Spans of one token, by row: they attend together.
        chunks: The others, each by itself.
    """

    def __init__(self, singles: Sequence[Span], chunks: Sequence[Span]) -> None:
        self.singles = singles
        self.chunks = chunks
        spans = (*singles, *chunks)
        self.offset = mx.array([span.start + index for span in spans for index in range(span.count)], dtype=mx.int32)
        if not singles:
            return
        self.rows = mx.array([span.row for span in singles], dtype=mx.int32)
        self.highest = singles[-1].row + 1
        self.longest = max(span.start for span in singles) + 1
        lengths = [1] * self.highest
        for span in singles:
            lengths[span.row] = span.start + 1
        self.mask = None
        if min(lengths) < self.longest:
            self.mask = (mx.arange(self.longest)[None] < mx.array(lengths)[:, None])[:, None, None]


def forward(model: Any, slab: Slab, singles: Sequence[tuple[int, int]], chunks: Sequence[tuple[int, Sequence[int]]]) -> mx.array:
    """Feed tokens to rows of a slab.

    Args:
        model: The model.
        slab: Where the rows are.
        singles: (row, token) of sequences that get one, by row.
        chunks: (row, tokens) of the others.

    Returns:
        The model's logits, (tokens, 1, vocabulary) or fewer rows if its head is told so, singles first; not evaluated.
    """
    step = PackedStep(
        [Span(row, slab.lengths[row], 1) for row, _ in singles],
        [Span(row, slab.lengths[row], len(tokens)) for row, tokens in chunks],
    )
    slab.reserve(max(span.start + span.count for span in (*step.singles, *step.chunks)))
    tokens = [token for _, token in singles] + [token for _, chunk in chunks for token in chunk]
    caches = [PackedLayer(slab, layer, step) for layer in range(len(model.layers))]
    logits: mx.array = model(mx.array(tokens)[:, None], cache=caches)
    for span in (*step.singles, *step.chunks):
        slab.lengths[span.row] = span.start + span.count
    return logits


def can_pack(model: Any, vocabulary: int) -> bool:
    """Whether a model gives the same logits this way as in mlx-lm's own: found out by trying, on two short prompts.

    A model whose attention doesn't ask its cache, or which mixes tokens in other ways than attention, doesn't.
    """
    prompts = [[(7 * n + 3) % vocabulary for n in range(9)], [(5 * n + 1) % vocabulary for n in range(4)]]
    slab = Slab(len(model.layers))
    rows = [slab.take_row() for _ in prompts]
    try:
        forward(model, slab, [], [(row, prompt[:-2]) for row, prompt in zip(rows, prompts, strict=True)])
        forward(model, slab, [(row, prompt[-2]) for row, prompt in zip(rows, prompts, strict=True)], [])
        packed = forward(model, slab, [(rows[0], prompts[0][-1])], [(rows[1], prompts[1][-1:])])[:, -1, :]
        plain = mx.concatenate([model(mx.array([p]), cache=make_prompt_cache(model))[:, -1, :] for p in prompts])
        spread = mx.max(mx.abs(plain - mx.mean(plain, axis=-1, keepdims=True)))
        return bool((mx.max(mx.abs(packed - plain)) <= 1e-3 * spread).item())
    except (AttributeError, TypeError, ValueError):
        return False
