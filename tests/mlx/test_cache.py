"""Which caches are batched: those whose own way of growing their way of merging knows."""

import pytest
from mlx_lm.models.cache import ArraysCache, CacheList, KVCache, RotatingKVCache

from scheduler.mlx.cache import can_merge


class Ring(KVCache):
    """Grows in a way of its own, and is merged as what it comes from."""

    def update_and_fetch(self, keys, values):
        return super().update_and_fetch(keys, values)


class MergingRing(Ring):
    """Knows how it is merged, too."""

    @classmethod
    def merge(cls, caches):
        return caches


class Plain(KVCache):
    """Only called otherwise."""


@pytest.mark.parametrize(
    ("cache", "merges"),
    [
        (KVCache(), True),
        (RotatingKVCache(max_size=8), True),
        (ArraysCache(2), True),
        (Plain(), True),
        (MergingRing(), True),
        (Ring(), False),
        (CacheList(KVCache(), Ring()), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_cache_is_merged_if_its_merging_knows_its_growing(cache, merges):
    assert can_merge([KVCache(), cache]) is merges
