"""MKL's functions for whole arrays, where it is the BLAS in front of MLX's own: many small products in one call, and powers of e.

MLX's CPU back end calls the BLAS once for each matrix of a stack, and has its own exponential, one element at a time. An attention
over short texts is hundreds of tiny products; together in one call, and with MKL's exponential, it takes a fifth to an eighth of the
time.
"""

import ctypes
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any

import mlx.core as mx
import numpy as np

Array = np.ndarray[Any, Any]

_ROW_MAJOR, _AS_IT_IS, _TRANSPOSED = 101, 111, 112  # of CBLAS
_FLOAT_BYTES = 4
_BLOCK = 1 << 20  # scores that are worked on together: they stay in the cores' caches
_LOWEST = -80.0  # below, a power is as good as none, and takes MKL many times as long
_WORTH_A_TEAM = 1 << 27  # multiplications: some milliseconds of one core
_OF_A_SHARE = 64  # multiplications that one share of the normal distribution takes as long as
_COUNTABLE = 1 << 31  # elements from which MKL's functions can't count them


@dataclass(frozen=True, slots=True)
class _Functions:
    """MKL's functions, by their names there: `cblas_sgemm_batch`, `vsExp`, `vsCdfNorm` and `MKL_Set_Num_Threads_Local`."""

    products: Any
    powers: Any
    normal_shares: Any
    threads: Any


@functools.cache
def _functions() -> _Functions | None:
    opened = ctypes.CDLL(None)
    names = ("cblas_sgemm_batch", "vsExp", "vsCdfNorm", "MKL_Set_Num_Threads_Local")
    found = [getattr(opened, name, None) for name in names]
    if None in found:
        return None
    functions = _Functions(*found)
    functions.products.restype = None
    for function in (functions.powers, functions.normal_shares):
        function.argtypes, function.restype = (ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p), None
    return functions


def is_open() -> bool:
    """Whether MKL's functions are to be had in this process."""
    return _functions() is not None


@contextmanager
def _on(functions: _Functions, work: int) -> Iterator[None]:
    """Lets MKL take one core for little work, given as multiplications.

    MLX calls the BLAS from a thread of its own, and MKL has a team of threads for each caller. They spin while they wait for more, so
    two teams would take the cores from each other all the time.
    """
    before = functions.threads(1) if work < _WORTH_A_TEAM else None
    try:
        yield
    finally:
        if before is not None:
            functions.threads(before)


def normal_times(x: mx.array) -> mx.array | None:
    """X times its share of the normal distribution, for float32 x; None where it can't be had."""
    functions = _functions()
    if functions is None or x.size >= _COUNTABLE:
        return None
    given = _seen(mx.contiguous(x))
    found = np.empty(given.shape, np.float32)
    with _on(functions, x.size * _OF_A_SHARE):
        functions.normal_shares(given.size, given.ctypes.data, found.ctypes.data)
    found *= given
    return mx.array(found)


def attention(queries: mx.array, keys: mx.array, values: mx.array, scale: float, bias: mx.array | None) -> mx.array:
    """Scaled dot-product attention with grouped queries. `is_open` must be true.

    The arrays may be views in which the last dimension alone is contiguous, as heads that were split off are.

    Args:
        queries: float32 (rows, heads, length, size).
        keys: float32 (rows, groups, span, size).
        values: float32 (rows, groups, span, value size).
        scale: Of the scores.
        bias: Added to the scores: float32, broadcasts to (rows, heads, length, span). None where everything may be seen.

    Returns:
        float32 (rows, heads, length, value size), a view of (rows, length, heads, value size).
    """
    functions = _functions()
    assert functions is not None, "MKL is not open"
    asked, known, told = (_seen(_in_rows(each)) for each in (queries, keys, values))
    (rows, heads, length, size), (groups, span, width) = asked.shape, told.shape[1:]
    group_of = np.arange(heads) // (heads // groups)
    mixed = np.empty((rows, length, heads, width), np.float32)
    by_head = mixed.swapaxes(1, 2)
    added = None if bias is None else np.broadcast_to(_seen(bias), (rows, heads, length, span))
    of_asked, of_mixed = _Matrices(asked), _Matrices(by_head)
    of_known, of_told = _Matrices(known, group_of), _Matrices(told, group_of)
    heads_at_once = min(heads, max(1, _BLOCK // (length * span)))
    rows_at_once = min(rows, max(1, _BLOCK // (heads * length * span)))
    room = np.empty((rows_at_once, heads_at_once, length, span), np.float32)
    blocks = product(range(0, rows, rows_at_once), range(0, heads, heads_at_once))
    with _on(functions, rows * heads * length * span * (size + width)):
        for row, head in blocks:
            part = slice(row, row + rows_at_once), slice(head, head + heads_at_once)
            within = by_head[part]
            scores = room[: within.shape[0], : within.shape[1]]
            of_scores = _Matrices(scores).part()
            _multiply(
                functions, (length, span, size), scale, of_asked.part(part), of_known.part(part), of_scores, transposed=True
            )
            if added is not None:
                scores += added[part]
            sums = _powers(functions, scores)
            _multiply(functions, (length, width, span), 1.0, of_scores, of_told.part(part), of_mixed.part(part), transposed=False)
            within /= sums
    return mx.array(mixed).swapaxes(1, 2)


class _Matrices:
    """Where the matrices of a stack stand in memory.

    Args:
        stack: float32 (rows, heads, height, width), each matrix' rows contiguous.
        heads: Which matrix of a row to take for each head; as they come if not given.
    """

    def __init__(self, stack: Array, heads: Array | None = None) -> None:
        by_row, by_head, by_line, _ = stack.strides
        rows, found = np.arange(stack.shape[0], dtype=np.uint64), np.arange(stack.shape[1], dtype=np.uint64)
        chosen = found if heads is None else found[heads]
        self._addresses = stack.ctypes.data + rows[:, None] * np.uint64(by_row) + chosen * np.uint64(by_head)
        self._line = by_line // _FLOAT_BYTES

    def part(self, part: tuple[slice, slice] = (slice(None), slice(None))) -> tuple[Array, int]:
        """The addresses of some of them, and how many numbers it is from one line to the next."""
        return self._addresses[part].ravel(), self._line


def _multiply(
    functions: _Functions,
    sizes: tuple[int, int, int],
    factor: float,
    left: tuple[Array, int],
    right: tuple[Array, int],
    to: tuple[Array, int],
    *,
    transposed: bool,
) -> None:
    """Many products of equal shapes: `to = factor * left @ right`, with each `right` transposed if so said.

    Args:
        functions: MKL's.
        sizes: Lines and columns of the result, and how many numbers are multiplied for each.
        factor: Of the results.
        left: The left factors, as `_Matrices.part` gives them.
        right: The right ones.
        to: The results.
        transposed: Whether the right ones are.
    """
    lines, columns, inner = (ctypes.c_int(each) for each in sizes)
    once, turned = ctypes.c_int(_AS_IT_IS), ctypes.c_int(_TRANSPOSED if transposed else _AS_IT_IS)
    one, zero = ctypes.c_float(factor), ctypes.c_float(0.0)
    by_reference = ctypes.byref
    steps = [ctypes.c_int(line) for _, line in (left, right, to)]
    pointers = [ctypes.c_void_p(addresses.ctypes.data) for addresses, _ in (left, right, to)]
    functions.products(
        _ROW_MAJOR,
        by_reference(once),
        by_reference(turned),
        by_reference(lines),
        by_reference(columns),
        by_reference(inner),
        by_reference(one),
        pointers[0],
        by_reference(steps[0]),
        pointers[1],
        by_reference(steps[1]),
        by_reference(zero),
        pointers[2],
        by_reference(steps[2]),
        1,
        by_reference(ctypes.c_int(len(to[0]))),
    )


def _powers(functions: _Functions, scores: Array) -> Array:
    """Make scores, contiguous, the powers of e of their distances to the highest of each line, in place. Returns each line's sum."""
    scores -= scores.max(-1, keepdims=True)
    np.maximum(scores, _LOWEST, out=scores)
    functions.powers(scores.size, scores.ctypes.data, scores.ctypes.data)
    sums: Array = scores.sum(-1, keepdims=True)
    return sums


def _in_rows(x: mx.array) -> mx.array:
    """The same numbers with the last dimension contiguous, which a view's may not be."""
    return x if _seen(x).strides[-1] == _FLOAT_BYTES else mx.contiguous(x)


def _seen(x: mx.array) -> Array:
    """An MLX array's own memory, evaluated."""
    return np.array(x, copy=False)
