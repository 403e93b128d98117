"""What of mlx-lm's caches can be copied for other sequences and put back: tokens' KV, and what stands for all tokens at once."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import mlx.core as mx
from mlx_lm.models.cache import BatchKVCache, BatchRotatingKVCache, CacheList, KVCache, RotatingKVCache

State = list[list[mx.array | None]]
"""Of each cache that isn't plain KV, its arrays for one row: a window's keys and values in order, or recurrent states."""


def leaves(caches: Iterable[Any]) -> Iterator[Any]:
    """The caches, and those within `CacheList`s in place of these."""
    for cache in caches:
        if isinstance(cache, CacheList):
            yield from leaves(cache.caches)
        else:
            yield cache


def can_reuse(caches: Iterable[Any]) -> bool:
    """Whether a row of these caches, fresh ones, can be copied and put back: of plain KV, windows and recurrent states it can."""
    return all(
        type(cache) is KVCache or _holds_states(cache) or (type(cache) is RotatingKVCache and not cache.keep)
        for cache in leaves(caches)
    )


def is_plain(caches: Iterable[Any]) -> bool:
    """Whether any part of a row of these caches, fresh ones, stands for a part of its tokens."""
    return all(type(cache) is KVCache for cache in leaves(caches))


def copy_kv(caches: Sequence[Any], row: int, start: int, stop: int) -> list[mx.array]:
    """Copies of a row's KV from position `start` to `stop`, in those caches that hold all of it.

    Keys and values of each in turn, (1, heads, stop - start, size), not evaluated. A cache that its model doesn't use gives
    arrays without an element.
    """
    plain = [cache for cache in leaves(caches) if isinstance(cache, KVCache | BatchKVCache)]
    shift = next((cache.left_padding[row].item() for cache in plain if isinstance(cache, BatchKVCache) and not cache.empty()), 0)
    span = slice(shift + start, shift + stop)
    parts = (mx.zeros((1, 0, 0, 0)) if part is None else part for cache in plain for part in (cache.keys, cache.values))
    return [mx.contiguous(part[row : row + 1, :, span]) for part in parts]


def copy_state(caches: Sequence[Any], row: int) -> State:
    """Copies of what a row holds beyond plain KV, not evaluated."""
    state: State = []
    for cache in leaves(caches):
        if _holds_states(cache):
            state.append([None if array is None else mx.contiguous(array[row : row + 1]) for array in cache.cache])
        elif isinstance(cache, BatchRotatingKVCache):
            state.append(_window(cache.extract(row)))
        elif isinstance(cache, RotatingKVCache):
            state.append(_window(cache))
    return state


def restore(caches: Sequence[Any], kv: Sequence[mx.array], state: State, tokens: int) -> None:
    """Fill fresh caches with what `copy_kv` and `copy_state` gave of a row that held so many tokens."""
    pairs = zip(kv[::2], kv[1::2], strict=True)
    states = iter(state)
    for cache in leaves(caches):
        if isinstance(cache, KVCache):
            keys, values = next(pairs)
            if keys.size:
                cache.keys, cache.values, cache.offset = keys[:], values[:], tokens
            continue
        # Caches write into their arrays in place; an index without bounds gives an array object of their own.
        own = [None if array is None else array[:] for array in next(states)]
        if isinstance(cache, RotatingKVCache):
            cache.state = *own, tokens, cache.keep, cache.max_size, min(tokens, cache.max_size)
        else:
            cache.cache = own


def _holds_states(cache: Any) -> bool:
    """Whether it is an `ArraysCache`, mlx-lm's or mlx-vlm's own."""
    return type(cache).__name__ == "ArraysCache"


def _window(cache: RotatingKVCache) -> list[mx.array | None]:
    """Copies of a window's keys and values, from the oldest token to the newest."""
    keys, values, offset, _, size, index = cache.state
    count = min(offset, size)

    def ordered(array: mx.array) -> mx.array:
        turned = index < min(offset, array.shape[2])
        array = mx.concatenate([array[:, :, index:], array[:, :, :index]], axis=2) if turned else array[:, :, :index]
        assert array.shape[2] >= count, "a window has lost tokens"
        return mx.contiguous(array[:, :, array.shape[2] - count :])

    return [ordered(keys), ordered(values)]
