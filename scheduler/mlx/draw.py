"""Draws tokens at random from rows of logits, each row by its own temperature, top_k, top_p and min_p."""

import math
from collections.abc import Sequence
from typing import Any

import mlx.core as mx

from scheduler.mlx.device import device_kind
from scheduler.sampling import SamplingParams

# Of the CPU alone:
_BLOCK = 16  # rows at a time
_CANDIDATES = (1024, 8192)  # as many of a row's most likely tokens are looked at before all of them are sorted
_LOG2_E = math.log2(math.e)
_EXP2_SERIES = tuple(math.log(2.0) ** n / math.factorial(n) for n in range(7))


def draw(logits: mx.array, params: Sequence[SamplingParams], uniforms: Sequence[float]) -> mx.array:
    """Draw one token a row, by inverting the row's cumulative distribution at one uniform number.

    A row's token depends on its own logits, parameters and number alone. Nothing is evaluated, except on the CPU: there rows
    go by blocks that fit its caches, and sorting a whole vocabulary takes so long that whether a row needs it is found out
    first.

    Args:
        logits: (rows, vocabulary), a finite one in each row.
        params: One a row, none of them greedy.
        uniforms: One a row, in [0, 1).

    Returns:
        uint32 (rows,).
    """
    count = len(params)
    if device_kind() == "cpu" and count > _BLOCK:
        blocks = [slice(start, start + _BLOCK) for start in range(0, count, _BLOCK)]
        return mx.concatenate([_evaluated(draw(logits[block], params[block], uniforms[block])) for block in blocks])
    logits = logits.astype(mx.float32)
    # The largest is taken off first, so that no temperature can make an infinity of it.
    scaled = (logits - mx.max(logits, axis=-1, keepdims=True)) / _column([each.temperature for each in params])
    cut = [row for row, each in enumerate(params) if each.restricted]
    if not cut:
        return _invert(exponential(scaled), _column(uniforms))
    some = [uniforms[row] for row in cut]
    drawn = _draw_restricted(take_rows(scaled, cut), [params[row] for row in cut], some)
    if len(cut) == count:
        return drawn
    free = [row for row, each in enumerate(params) if not each.restricted]
    others = _invert(exponential(take_rows(scaled, free)), _column([uniforms[row] for row in free]))
    return in_order((free, others), (cut, drawn))


def exponential(values: mx.array) -> mx.array:
    """The exponential of float32 values that are at most 0; exactly 0 below 2**-126.5.

    MLX's own takes three to four times as long on the CPU, where it is most of a draw's cost. There: a power of two by its
    bits, and Taylor's polynomial of degree 6 for a fraction in [-1/2, 1/2]. The relative error stays below 5e-6; that is the
    rounding of the largest arguments; between -1 and 0 it is 2e-7.
    """
    if device_kind() != "cpu":
        return mx.exp(values)
    exponent = mx.maximum(values * _LOG2_E, -127.0)
    whole = (exponent - 0.5).astype(mx.int32)
    part = exponent - whole.astype(mx.float32)
    power: mx.array | float = _EXP2_SERIES[-1]
    for factor in reversed(_EXP2_SERIES[:-1]):
        power = power * part + factor
    return power * ((whole + 127) << 23).view(mx.float32)


def _evaluated(values: mx.array) -> mx.array:
    """The same, computed: its intermediates' memory is free for the next block's, and still in the caches."""
    mx.eval(values)
    return values


def take_rows(values: mx.array, rows: Sequence[int]) -> mx.array:
    """Some rows of an array, or the array itself where that is all of them."""
    return values if len(rows) == values.shape[0] else values[mx.array(list(rows))]


def in_order(*groups: tuple[Sequence[int], mx.array]) -> mx.array:
    """Puts groups of rows together: each group's row numbers, which together are 0 … rows - 1, and its values (rows,)."""
    rows = [row for numbers, _ in groups for row in numbers]
    place = sorted(range(len(rows)), key=rows.__getitem__)
    return mx.concatenate([values for _, values in groups])[mx.array(place)]


def _draw_restricted(scaled: mx.array, params: Sequence[SamplingParams], uniforms: Sequence[float]) -> mx.array:
    totals = _totals(scaled, params)
    if device_kind() != "cpu":
        return _draw_above_cut(scaled, totals, params, uniforms)[0]
    drawn = []
    rows = list(range(len(params)))
    for candidates in (*_CANDIDATES, scaled.shape[-1]):
        tokens, certain = _draw_of_likeliest(
            candidates,
            take_rows(scaled, rows),
            take_rows(totals, rows),
            [params[row] for row in rows],
            [uniforms[row] for row in rows],
        )
        sure = [n for n, is_sure in enumerate(certain) if is_sure]
        if sure:
            drawn.append(([rows[n] for n in sure], take_rows(tokens, sure)))
        rows = [row for row, is_sure in zip(rows, certain, strict=True) if not is_sure]
        if not rows:
            break
    return drawn[0][1] if len(drawn) == 1 else in_order(*drawn)


def _draw_of_likeliest(
    candidates: int, scaled: mx.array, totals: mx.array, params: Sequence[SamplingParams], uniforms: Sequence[float]
) -> tuple[mx.array, list[bool]]:
    """`_draw_above_cut` with so many candidates of each row: tokens, and whether they are certain."""
    size = scaled.shape[-1]
    if 2 * candidates > size:
        return _draw_above_cut(scaled, totals, params, uniforms)[0], [True] * len(params)
    likely = mx.argpartition(scaled, kth=size - candidates, axis=-1)[:, size - candidates :]
    likely = mx.sort(likely, axis=-1)  # the draw goes by token id, as it does over all of them
    place, certain = _draw_above_cut(mx.take_along_axis(scaled, likely, axis=-1), totals, params, uniforms)
    certainty: Any = certain.tolist()
    return mx.take_along_axis(likely, place[:, None], axis=-1)[:, 0], certainty


def _totals(scaled: mx.array, params: Sequence[SamplingParams]) -> mx.array:
    """The sum of a row's weights, (rows, 1), where its nucleus is a part of all; else anything."""
    asking = [row for row, each in enumerate(params) if each.top_p < 1.0 and not each.top_k]
    totals = mx.zeros((len(params), 1))
    if asking:
        totals[mx.array(asking)] = mx.sum(exponential(take_rows(scaled, asking)), axis=-1, keepdims=True)
    return totals


def _draw_above_cut(
    values: mx.array, totals: mx.array, params: Sequence[SamplingParams], uniforms: Sequence[float]
) -> tuple[mx.array, mx.array]:
    """Draw from the values at or above each row's cut.

    The cut is the value of the least likely token that top_k, the nucleus (Holtzman et al., ICLR 2020) and min_p all keep.
    Tokens exactly as likely are kept too, so ties don't depend on the order of sorting.

    Args:
        values: float32 (rows, n): all of a row's scaled logits, the largest of them 0, or its n largest.
        totals: (rows, 1); see `_totals`.
        params: One a row.
        uniforms: One a row.

    Returns:
        The places drawn, uint32 (rows,), and whether each would be the same had `values` been all: bool (rows,).
    """
    size = values.shape[-1]
    falling = mx.sort(values, axis=-1)[:, ::-1]
    last = mx.array([[min(each.top_k or size, size) - 1] for each in params])
    least = mx.take_along_axis(falling, last, axis=-1)
    weights = exponential(falling) * (falling >= least)
    counted = mx.array([[each.top_k > 0] for each in params])
    mass = mx.where(counted, mx.sum(weights, axis=-1, keepdims=True), totals)
    top_p = _column([each.top_p for each in params])
    before = mx.cumsum(weights, axis=-1, inclusive=False)
    # Rounding must not cut anything from a row that asks for everything.
    inside = mx.sum((before < top_p * mass) | (top_p >= 1.0), axis=-1, keepdims=True)
    nucleus = mx.take_along_axis(falling, inside - 1, axis=-1)
    floor = _column([math.log(each.min_p) if each.min_p else -math.inf for each in params])
    cut = mx.maximum(mx.maximum(least, nucleus), floor)
    place = _invert(exponential(values) * (values >= cut), _column(uniforms))
    lowest = falling[:, -1:]
    return place, ((cut > lowest) & ((least > lowest) | ~counted))[:, 0]


def _invert(weights: mx.array, uniforms: mx.array) -> mx.array:
    """Where the cumulative weights of each row exceed a fraction of their sum, uint32 (rows,); never at a weight of 0.

    Devices that add in parallel may round a sum below an earlier one, hence not simply the last.
    """
    reach = mx.cumsum(weights, axis=-1) * (weights > 0)
    return mx.argmax(reach > uniforms * mx.max(reach, axis=-1, keepdims=True), axis=-1)


def _column(values: Sequence[float]) -> mx.array:
    return mx.array(list(values), dtype=mx.float32)[:, None]
