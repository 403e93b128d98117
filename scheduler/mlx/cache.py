"""The KV rows of the sequences being decoded, on mlx-lm's own cache objects."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from typing import Any, Protocol

import mlx.core as mx
from mlx_lm.models.cache import KVCache, RotatingKVCache, make_prompt_cache

from scheduler.kv_cost import KvCost
from scheduler.mlx.reuse import leaves


class Rows(Protocol):
    """Holds the caches of every sequence that is being decoded, one row each."""

    def add(self, request_ids: Sequence[str], caches: list[Any]) -> None:
        """Take over a sequence's caches (one a layer, batch size 1) as the last row; with several ids, as so many equal ones."""
        ...

    def remove(self, request_ids: Iterable[str]) -> None:
        """Forget rows; ids that have none are ignored."""
        ...

    def find(self, request_id: str) -> tuple[Sequence[Any], int]:
        """The caches that hold a sequence's row, and which of their rows it is."""
        ...

    def groups(self) -> Iterator[tuple[Sequence[str], list[Any]]]:
        """The rows in groups that share one forward: their ids in the order of the batch, and the batch's caches."""
        ...


def can_merge(caches: Iterable[Any]) -> bool:
    """Whether mlx-lm can batch these caches; quantized, chunked and concatenating ones it can't."""
    return all(_merges(type(cache)) for cache in leaves(caches))


def _merges(kind: type) -> bool:
    """Whether it says itself how it is merged: of one that only grows in a way of its own, merging would make what it comes from."""
    kinds = kind.__mro__
    merge, grow = (
        next((place for place, each in enumerate(kinds) if name in vars(each)), len(kinds))
        for name in ("merge", "update_and_fetch")
    )
    return merge < len(kinds) and merge <= grow


def arrays(caches: Iterable[Any]) -> list[Any]:
    """Every array that the caches hold, to be evaluated with the step: an unevaluated graph would pin its inputs."""
    return [cache.state for cache in leaves(caches) if not cache.empty()]


class MergedRows:
    """All rows in one batch: merged when they join, filtered when they leave."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._caches: list[Any] = []

    def add(self, request_ids: Sequence[str], caches: list[Any]) -> None:
        merged = [cache.merge([cache] * len(request_ids)) for cache in caches]
        if self._ids:
            for mine, theirs in zip(self._caches, merged, strict=True):
                mine.extend(theirs)
        else:
            self._caches = merged
        self._ids += request_ids

    def remove(self, request_ids: Iterable[str]) -> None:
        gone = set(request_ids)
        keep = [row for row, request_id in enumerate(self._ids) if request_id not in gone]
        if len(keep) == len(self._ids):
            return
        self._ids = [self._ids[row] for row in keep]
        if not keep:
            self._caches = []
            return
        index = mx.array(keep)
        for cache in self._caches:
            cache.filter(index)

    def find(self, request_id: str) -> tuple[Sequence[Any], int]:
        return self._caches, self._ids.index(request_id)

    def groups(self) -> Iterator[tuple[Sequence[str], list[Any]]]:
        if self._ids:
            yield self._ids, self._caches


class SeparateRows:
    """Each row by itself, for caches that can't be batched: right, not fast."""

    def __init__(self) -> None:
        self._rows: dict[str, list[Any]] = {}

    def add(self, request_ids: Sequence[str], caches: list[Any]) -> None:
        first, *others = request_ids
        self._rows[first] = caches
        for request_id in others:
            self._rows[request_id] = deepcopy(caches)  # of the handles: MLX copies an array when one of its holders changes it

    def remove(self, request_ids: Iterable[str]) -> None:
        for request_id in request_ids:
            self._rows.pop(request_id, None)

    def find(self, request_id: str) -> tuple[Sequence[Any], int]:
        return self._rows[request_id], 0

    def groups(self) -> Iterator[tuple[Sequence[str], list[Any]]]:
        for request_id, caches in self._rows.items():
            yield (request_id,), caches


def kv_cost(model: Any) -> KvCost:
    """What one sequence's caches take, read off caches that hold one token."""
    caches = make_prompt_cache(model)
    model(mx.array([[0]]), cache=caches)
    fixed = per_token = 0
    windows: Counter[int] = Counter()
    for cache in leaves(caches):
        if isinstance(cache, RotatingKVCache):
            windows[cache.max_size] += cache.nbytes // cache.keys.shape[2]
        elif hasattr(cache, "offset") and not cache.empty():
            per_token += cache.nbytes // cache.keys.shape[2]
        else:
            fixed += cache.nbytes
    return KvCost(fixed, per_token, tuple(sorted(windows.items())), granule=KVCache.step)
