"""Element-wise functions and attention for MLX's CPU back end, whose own exponential is slow.

MLX evaluates `exp`, and with it `sigmoid` and `softmax`, one element at a time on x86: 25 to 40 ns each, while additions and
multiplications take a third of one and powers of two ten. A transformer's layer on the CPU spends more time there than in
half of its matrix products. Here everything is done with powers of two, which for large arrays are made of additions and
multiplications; for small ones, the cost of so many operations would be more than what they save.
"""

import sys
from collections.abc import Callable
from typing import Any

import mlx.core as mx
from mlx import nn
from mlx_lm.models import activations

from scheduler.mlx import mkl

_LOG2_E = 1.4426950408889634
_SMALL = 1 << 14  # elements below which MLX's own single operation takes less time than the several here
_FEW = 2000  # scores from which MKL's way takes less time than MLX's single operation
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


def gelu(x: mx.array) -> mx.array:
    """X times its share of the normal distribution, element by element, for float32 x. MLX's own error function takes 23 ns for each."""
    found = mkl.normal_times(x) if x.size >= _SMALL else None
    slow: mx.array = nn.gelu(x) if found is None else found
    return slow


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
    rows, heads, length, _ = queries.shape
    groups, span = keys.shape[1], keys.shape[2]
    if rows * heads * length * span < _SMALL:
        return mx.fast.scaled_dot_product_attention(queries, keys, values, scale=scale, mask=mask)
    share = heads // groups
    scores = (queries * (scale * _LOG2_E)).reshape(rows, groups, share * length, -1) @ keys.swapaxes(-1, -2)
    bias = _bias(mask, length, span)
    if bias is not None:
        by_head = scores.reshape(rows, groups, share, length, span)
        if bias.ndim == 4 and bias.shape[1] != 1:
            bias = bias.reshape(bias.shape[0], groups, share, *bias.shape[2:])
        elif bias.ndim == 4:
            bias = bias[:, :, None]
        scores = (by_head + bias * _LOG2_E).reshape(rows, groups, share * length, span)
    weights = exp2(scores - mx.max(scores, axis=-1, keepdims=True))
    mixed = (weights @ values) / mx.sum(weights, axis=-1, keepdims=True)
    return mixed.reshape(rows, heads, length, -1)


def attention_at_once(queries: mx.array, keys: mx.array, values: mx.array, scale: float, mask: Any) -> mx.array:
    """The same by MKL, where it is there: evaluated at once, with everything before it. See `attention` for what is taken and given."""
    length, span = queries.shape[2], keys.shape[2]
    if queries.size // queries.shape[-1] * span >= _FEW and mkl.is_open():
        return mkl.attention(queries, keys, values, scale, _bias(mask, length, span))
    return attention(queries, keys, values, scale, mask)


def _bias(mask: mx.array | str | None, length: int, span: int) -> mx.array | None:
    """What to add to the scores; None where everything may be seen."""
    if mask is None:
        return None
    if isinstance(mask, str):
        mask = mx.arange(span - length, span)[:, None] >= mx.arange(span)[None]
    if mask.dtype == mx.bool_:
        return mx.where(mask, mx.array(0.0), mx.array(_HIDDEN))
    return mask


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
        # With a bias, MLX adds it within the product, in the order that it needs for that.
        return super().__call__(x) if "bias" in self else product(x, self.weight)


def tune_products(model: Any) -> None:
    """Let a model's linear layers use `product`."""
    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = _Linear


class _Gelu(nn.GELU):  # type: ignore[misc]
    def __call__(self, x: mx.array) -> mx.array:
        return gelu(x) if x.dtype == mx.float32 else nn.gelu(x)


def tune_activations(model: Any) -> None:
    """Let a model's layers that are an exact GELU use `gelu`."""
    for module in model.modules():
        if type(module) is nn.GELU and module._approx == "none":  # noqa: SLF001 - it is told nowhere else
            module.__class__ = _Gelu


def tune(*, at_once: bool) -> None:
    """Let every model of mlx-lm and mlx-vlm in this process use these functions, in place of those that its module imported by name.

    Call once a model has been loaded: modules that are imported later keep the slow ones, which are as right.

    Args:
        at_once: Whether attention is `attention_at_once`. It isn't for a model that generates: the step after is put together while
            one is computed, and would be computed before the tokens of that one go out.
    """
    slow_swiglu = activations.swiglu

    def gate(gated: mx.array, x: mx.array) -> Any:
        return slow_swiglu(gated, x) if gated.size < _SMALL else swiglu(gated, x)

    _replace("mlx_lm.models.", "swiglu", slow_swiglu, gate)
    for library in ("mlx_lm.models", "mlx_vlm.models"):
        base = sys.modules.get(f"{library}.base")
        if base is not None:
            slow = base.scaled_dot_product_attention
            _replace(
                f"{library}.", "scaled_dot_product_attention", slow, _attending(slow, attention_at_once if at_once else attention)
            )


def _attending(slow: Callable[..., Any], quick: Callable[..., mx.array]) -> Callable[..., Any]:
    """A library's own attention, done by a quick one where that can."""

    def attend(
        queries: mx.array, keys: Any, values: Any, cache: Any, scale: float, mask: Any, sinks: mx.array | None = None
    ) -> Any:
        plain = isinstance(keys, mx.array) and not hasattr(cache, "bits") and sinks is None
        if not plain or queries.dtype != mx.float32:
            return slow(queries, keys, values, cache, scale=scale, mask=mask, sinks=sinks)
        return quick(queries, keys, values, scale, mask)

    return attend


def _replace(within: str, name: str, old: Any, new: Any) -> None:
    for module_name, module in list(sys.modules.items()):
        if module_name.startswith(within) and getattr(module, name, None) is old:
            setattr(module, name, new)
