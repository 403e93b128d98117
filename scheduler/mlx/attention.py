"""Attention over a sequence's keys, in the form that is fastest on each device.

MLX's fused kernel is, but for three cases. On the CPU, see `scheduler.mlx.cpu`. On CUDA, the kernel for single tokens takes no mask,
and MLX's way around that reads the keys once for every head: matrix products by groups of heads take a quarter of its time. And
there the kernel for many tokens is planned anew for each shape that it meets, which takes as long as twenty steps: prompts are padded
to a few shapes.
"""

import mlx.core as mx

from scheduler.mlx import cpu
from scheduler.mlx.device import device_kind

# On CUDA:
_SHORTEST = 64  # tokens that a prompt's first chunk is padded to, or a power of two times as many, up to
_LONGEST = 2048  # tokens, and a multiple of it from there on
_GRID = 512  # tokens: later chunks are padded to begin and to end at a multiple of it
_FEW = 1 << 21  # scores a head: for fewer, matrix products take less time than the fused kernel with its padding


class Visible:
    """Which positions rows of different lengths may see.

    Attributes:
        mask: bool (rows, 1, 1, span).
    """

    def __init__(self, lengths: list[int], span: int) -> None:
        self.mask = (mx.arange(span)[None] < mx.array(lengths)[:, None])[:, None, None]
        self._bias: mx.array | None = None

    def bias(self, groups: int, share: int, dtype: mx.Dtype) -> mx.array:
        """What to add to the scores, (rows, groups, share, span); worked out once, for all layers."""
        wanted = (self.mask.shape[0], groups, share, self.mask.shape[-1])
        if self._bias is None or self._bias.shape != wanted or self._bias.dtype != dtype:
            hidden = mx.where(self.mask, mx.array(0.0, dtype), mx.array(-mx.inf, dtype))
            self._bias = mx.contiguous(mx.broadcast_to(hidden, wanted))
        return self._bias


def attend_rows(queries: mx.array, keys: mx.array, values: mx.array, scale: float, visible: Visible | None) -> mx.array:
    """Attention of one token a row.

    Args:
        queries: floating (rows, heads, 1, size).
        keys: floating (rows, groups, span, size).
        values: floating (rows, groups, span, value size).
        scale: Of the scores.
        visible: Which positions; None where each row sees all of them.

    Returns:
        floating (rows, heads, 1, value size).
    """
    kind = device_kind()
    mask = None if visible is None else visible.mask
    if kind == "cpu" and queries.dtype == mx.float32:
        return cpu.attention(queries, keys, values, scale, mask)
    if kind != "cuda" or visible is None:
        return mx.fast.scaled_dot_product_attention(queries, keys, values, scale=scale, mask=mask)
    rows, heads, _, size = queries.shape
    groups = keys.shape[1]
    bias = visible.bias(groups, heads // groups, queries.dtype)
    scores = mx.addmm(bias, queries.reshape(rows, groups, -1, size), keys.swapaxes(-1, -2), alpha=scale)
    return (mx.softmax(scores, axis=-1, precise=True) @ values).reshape(rows, heads, 1, -1)


def attend_chunk(queries: mx.array, keys: mx.array, values: mx.array, scale: float) -> mx.array:
    """Attention of a sequence's latest tokens, each to itself and to those before it.

    Args:
        queries: floating (1, heads, count, size).
        keys: floating (1, groups, span, size), those of the queries' own tokens last.
        values: floating (1, groups, span, value size).
        scale: Of the scores.

    Returns:
        floating (1, heads, count, value size).
    """
    kind = device_kind()
    count, span = queries.shape[2], keys.shape[2]
    mask = "causal" if count > 1 else None
    if kind == "cpu" and queries.dtype == mx.float32:
        return cpu.attention(queries, keys, values, scale, mask)
    if kind != "cuda" or mask is None:
        return mx.fast.scaled_dot_product_attention(queries, keys, values, scale=scale, mask=mask)
    start = span - count
    if start and count * span <= _FEW:
        seen = mx.arange(start, span)[:, None] >= mx.arange(span)[None]
        return attend_chunks(queries, keys, values, scale, seen[None])
    before = start % _GRID
    stop = -(-span // _GRID) * _GRID if start else _bucket(span)
    asked = _padded(queries, before, stop - span)
    keys, values = (_padded(each, 0, stop - span) for each in (keys, values))
    mixed = mx.fast.scaled_dot_product_attention(asked, keys, values, scale=scale, mask=mask)
    return mixed[:, :, before : before + count]


def attends_together(chunks: int, length: int, span: int) -> bool:
    """Whether several sequences' chunks, padded to one length and span, are better given to `attend_chunks` at once.

    On CUDA they are: there a step of a small model takes as long as it takes to launch its operations.
    """
    return device_kind() == "cuda" and chunks * length * span <= _FEW


def attend_chunks(queries: mx.array, keys: mx.array, values: mx.array, scale: float, mask: mx.array) -> mx.array:
    """Attention of several sequences' latest tokens, by matrix products.

    Args:
        queries: floating (chunks, heads, length, size).
        keys: floating (chunks, groups, span, size).
        values: floating (chunks, groups, span, value size).
        scale: Of the scores.
        mask: bool (chunks, length, span).

    Returns:
        floating (chunks, heads, length, value size).
    """
    chunks, heads, length, size = queries.shape
    groups, span = keys.shape[1], keys.shape[2]
    scores = (queries * scale).reshape(chunks, groups, -1, size) @ keys.swapaxes(-1, -2)
    scores = scores.reshape(chunks, groups, -1, length, span)
    scores = mx.where(mask[:, None, None], scores, mx.array(-mx.inf, scores.dtype))
    weights = mx.softmax(scores, axis=-1, precise=True).reshape(chunks, groups, -1, span)
    return (weights @ values).reshape(chunks, heads, length, -1)


def fills_rows(count: int, held: int) -> bool:
    """Whether tokens are better fed for all the rows of a slab that holds so many, when only `count` of them get one.

    On CUDA they are, unless most are idle: sorting out rows takes operations, and other ones for other rows.
    """
    return device_kind() == "cuda" and 2 * count >= held


def padded_length(tokens: int) -> int:
    """How many tokens a step that feeds so many is better made of: on CUDA, products of a new shape take long at first."""
    if device_kind() != "cuda":
        return tokens
    step = 1 if tokens <= 8 else 8 if tokens <= 128 else 32 if tokens <= 512 else 128
    return -(-tokens // step) * step


def _bucket(tokens: int) -> int:
    """The length that a prompt's first chunk is padded to."""
    if tokens > _LONGEST:
        return -(-tokens // _LONGEST) * _LONGEST
    length = _SHORTEST
    while length < tokens:
        length *= 2
    return length


def _padded(values: mx.array, before: int, after: int) -> mx.array:
    return mx.pad(values, [(0, 0), (0, 0), (before, after), (0, 0)]) if before or after else values
