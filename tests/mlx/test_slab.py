"""Rows of KV come, grow, move and go; what each holds stays."""

import mlx.core as mx

from scheduler.mlx.slab import COARSE, GRANULE, Slab, Slabs


def kv(length, value):
    """Keys and values of two layers, (1, heads, length, size), told apart by their numbers."""
    position = mx.arange(length, dtype=mx.float32)[:, None]
    return [mx.broadcast_to(value + position + each / 8, (1, 2, length, 3)) for each in range(4)]


def holds(row, expected):
    length = expected[0].shape[2]
    return all(mx.array_equal(got, want) for got, want in zip(row.copy(0, length), expected, strict=True))


def test_the_lowest_free_row_is_taken():
    slab = Slab(1, 8)
    rows = [slab.take() for _ in range(8)]
    assert [row.index for row in rows] == list(range(8))
    slab.free(rows[2])
    slab.free(rows[1])
    assert [slab.take().index for _ in range(2)] == [1, 2]


def test_rows_of_one_capacity_stand_together():
    slabs = Slabs(1)
    short, long, longer = slabs.take(10), slabs.take(GRANULE), slabs.take(COARSE + 1)
    assert [row.slab.capacity for row in (short, long, longer)] == [GRANULE, 2 * GRANULE, 2 * COARSE]
    assert slabs.take(GRANULE - 1).slab is short.slab


def test_contents_survive_growing_moving_and_packing():
    slabs = Slabs(2)
    rows = {n: slabs.take(100, kv(100, 1000 * n)) for n in range(9)}
    slabs.reserve(rows[4], 700)
    assert rows[4].slab is not rows[3].slab
    for n in (0, 1, 2, 5, 6):
        slabs.free(rows.pop(n))
    assert len(rows[3].slab.rows) <= 2 * 3
    assert all(holds(row, kv(100, 1000 * n)) for n, row in rows.items())
    slabs.reserve(rows[4], 701)
    forks = slabs.fork(rows[4], 3)
    assert all(fork.length == 100 and holds(fork, kv(100, 4000)) for fork in forks)
    for row in (*rows.values(), *forks):
        slabs.free(row)
    assert slabs.arrays() == []


def test_one_token_for_each_row_goes_to_its_place():
    slab = Slab(1, 8)
    rows = [slab.take() for _ in range(3)]
    new = mx.arange(6.0).reshape(3, 2, 1, 1)
    slab.append(0, mx.array([5, 0, 2]).reshape(3, 1, 1, 1), new, -new)
    for row, position in zip(rows, (5, 0, 2), strict=True):
        keys, values = row.copy(position, position + 1)
        assert mx.array_equal(keys, new[row.index : row.index + 1])
        assert mx.array_equal(values, -new[row.index : row.index + 1])
    assert mx.sum(mx.abs(rows[0].copy(0, 5)[0])).item() == 0
