"""Element-wise functions and attention for MLX's CPU back end, whose own exponential is slow.

MLX evaluates `exp`, and with it `sigmoid` and `softmax`, one element at a time on x86: 25 to 40 ns each, while additions and
multiplications take a third of one and powers of two ten. A transformer's layer on the CPU spends more time there than in
half of its matrix products. Here everything is done with powers of two, which for large arrays are made of additions and
multiplications; for small ones, the cost of so many operations would be more than what they save.
"""

import sys
from typing import Any

import mlx.core as mx
from mlx import nn
from mlx_lm.models import activations, base

_LOG2_E = 1.4426950408889634
_SMALL = 1 << 14  # elements below which MLX's own single operation takes less time than the several here
_LARGE = 1 << 16  # elements from which sixteen cheap operations take less time than one power
_ROUND = 12582912.0  # 1.5 * 2**23: a float32 near it has no fraction, and its low bits are the integer
_LOWEST, _HIGHEST = -126.0, 127.0  # powers that are normal float32
_TRANSPOSED = (*range(3, 7), 12)  # rows with which a product is faster with the weight's rows as its own, the last and beyond
_HIDDEN = -1e9  # added to the score of a position that must not be seen
# 2**f for |f| <= 0.5, from the constant up: least squares of the relative error at 64 Chebyshev nodes, below 1e-7.
_POWERS = (1.0000001192, 0.6931469440, 0.2402212173, 0.0555074252, 0.0096754599, 0.0013266971)


def exp2(x: mx.array) -> mx.array:
    """2**x for float32 x, to a relative error of 3e-7; what is below -126 may stand at 1e-38, above 127 at 2e38.

    Large arrays: x is split into an integer and a rest of at most a half, whose power is a polynomial, and the integer is
    added to the exponent's bits.
    """
    if x.size < _LARGE:
        return mx.power(2.0, x)
    x = mx.clip(x, _LOWEST, _HIGHEST)
    shifted = x + _ROUND
    f = x - (shifted - _ROUND)
    p = f * _POWERS[5] + _POWERS[4]
    for coefficient in _POWERS[3::-1]:
        p = p * f + coefficient
    return (p.view(mx.int32) + mx.left_shift(shifted.view(mx.int32), 23)).view(mx.float32)


def swiglu(gate: mx.array, x: mx.array) -> mx.array:
    """silu(gate) * x, element by element, with silu(g) = g / (1 + exp(-g))."""
    return gate * x / (1.0 + exp2(gate * -_LOG2_E))


def attention(queries: mx.array, keys: mx.array, values: mx.array, scale: float, mask: Any) -> mx.array:
    """Scaled dot-product attention with grouped queries, as `mx.fast.scaled_dot_product_attention`.

    Queries of a group share one matrix product, and the weights are normalised after they are applied.

    Args:
        queries: float32 (rows, heads, length, size).
        keys: float32 (rows, groups, span, size).
        values: float32 (rows, groups, span, value size).
        scale: Of the scores.
        mask: None, `causal`, or an array that broadcasts to (rows, heads, length, span): bool where a position may be
            seen, or float to add to the scores.

    Returns:
        float32 (rows, heads, length, value size).
    """
    if queries.size // queries.shape[-1] * keys.shape[-2] < _SMALL:
        return mx.fast.scaled_dot_product_attention(queries, keys, values, scale=scale, mask=mask)
    rows, heads, length, _ = queries.shape
    groups, span = keys.shape[1], keys.shape[2]
    share = heads // groups
    scores = (queries * (scale * _LOG2_E)).reshape(rows, groups, share * length, -1) @ keys.swapaxes(-1, -2)
    bias = _bias(mask, length, span)
    if bias is not None:
        by_head = scores.reshape(rows, groups, share, length, span)
        if bias.ndim == 4 and bias.shape[1] != 1:
            bias = bias.reshape(bias.shape[0], groups, share, *bias.shape[2:])
        elif bias.ndim == 4:
            bias = bias[:, :, None]
        scores = (by_head + bias).reshape(rows, groups, share * length, span)
    weights = exp2(scores - mx.max(scores, axis=-1, keepdims=True))
    mixed = (weights @ values) / mx.sum(weights, axis=-1, keepdims=True)
    return mixed.reshape(rows, heads, length, -1)


def _bias(mask: mx.array | str | None, length: int, span: int) -> mx.array | None:
    """What to add to the scores; None where everything may be seen."""
    if mask is None:
        return None
    if isinstance(mask, str):
        mask = mx.arange(span - length, span)[:, None] >= mx.arange(span)[None]
    if mask.dtype == mx.bool_:
        return mx.where(mask, mx.array(0.0), mx.array(_HIDDEN))
    return mask * _LOG2_E


def product(x: mx.array, weight: mx.array) -> mx.array:
    """X @ weight.T, in the order of the factors that the BLAS is faster with.

    Args:
        x: float32 (..., size).
        weight: float32 (outputs, size).
    """
    rows = x.size // x.shape[-1]
    if rows < _TRANSPOSED[-1] and rows not in _TRANSPOSED:
        return x @ weight.T
    return (weight @ x.reshape(rows, -1).T).T.reshape(*x.shape[:-1], -1)


class _Linear(nn.Linear):  # type: ignore[misc]
    def __call__(self, x: mx.array) -> mx.array:
        made = product(x, self.weight)
        return made + self.bias if "bias" in self else made


def tune_products(model: Any) -> None:
    """Let a model's linear layers use `product`."""
    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = _Linear


def tune() -> None:
    """Let every mlx-lm model of this process use these functions, in place of those that its module imported by name.

    Call once a model has been loaded: modules that are imported later keep the slow ones, which are as right.
    """
    slow_swiglu, slow_attention = activations.swiglu, base.scaled_dot_product_attention

    def gate(gated: mx.array, x: mx.array) -> Any:
        return slow_swiglu(gated, x) if gated.size < _SMALL else swiglu(gated, x)

    def attend(
        queries: mx.array, keys: Any, values: Any, cache: Any, scale: float, mask: Any, sinks: mx.array | None = None
    ) -> Any:
        if sinks is not None or hasattr(cache, "bits") or queries.dtype != mx.float32:
            return slow_attention(queries, keys, values, cache, scale=scale, mask=mask, sinks=sinks)
        return attention(queries, keys, values, scale, mask)

    for name, module in list(sys.modules.items()):
        if name.startswith("mlx_lm.models."):
            if getattr(module, "swiglu", None) is slow_swiglu:
                module.swiglu = gate  # type: ignore[attr-defined]
            if getattr(module, "scaled_dot_product_attention", None) is slow_attention:
                module.scaled_dot_product_attention = attend  # type: ignore[attr-defined]
