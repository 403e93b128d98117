"""Attention of rows of different lengths, in the form that is fastest on each device."""

from typing import Any

import mlx.core as mx

from scheduler.mlx import cpu
from scheduler.mlx.device import device_kind


def attention(queries: mx.array, keys: mx.array, values: mx.array, scale: float, mask: Any) -> mx.array:
    """Scaled dot-product attention with grouped queries, as `mx.fast.scaled_dot_product_attention`.

    Args:
        queries: floating (rows, heads, length, size).
        keys: floating (rows, groups, span, size).
        values: floating (rows, groups, span, value size).
        scale: Of the scores.
        mask: None, `causal`, or bool (rows, 1, 1, span): where a position may be seen.

    Returns:
        floating (rows, heads, length, value size).
    """
    kind = device_kind()
    if kind == "cpu" and queries.dtype == mx.float32:
        return cpu.attention(queries, keys, values, scale, mask)
    if kind == "cuda" and isinstance(mask, mx.array):
        return _grouped(queries, keys, values, scale, mask)
    return mx.fast.scaled_dot_product_attention(queries, keys, values, scale=scale, mask=mask)


def _grouped(queries: mx.array, keys: mx.array, values: mx.array, scale: float, mask: mx.array) -> mx.array:
    """With one matrix product a group of heads: MLX's fused kernel for CUDA takes no mask, and its way around that reads the
    keys once for every head, which takes four times as long.
    """
    rows, heads, length, size = queries.shape
    groups = keys.shape[1]
    grouped = (queries * scale).reshape(rows, groups, heads // groups * length, size)
    scores = mx.where(mask, grouped @ keys.swapaxes(-1, -2), -mx.inf)
    return (mx.softmax(scores, axis=-1, precise=True) @ values).reshape(rows, heads, length, -1)
