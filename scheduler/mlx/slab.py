"""Where the packed runner keeps everybody's KV: rows of equal capacity stand together in slabs, one slab a capacity.

A row that outgrows its slab moves to the next larger one; nobody else's KV is touched when a row comes, goes or moves. Rows of
one slab attend together, up to the longest of them, so a short sequence never pays for a long one's length.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx

from scheduler.kv_cost import row_capacity

GRANULE = 256  # tokens: the smallest capacity; it doubles up to
COARSE = 2048  # tokens, and grows by as many from there on


@dataclass(slots=True, eq=False)
class Row:
    """One sequence's KV.

    Attributes:
        slab: Where it is.
        index: Which of the slab's rows it is; both change when it moves.
        length: Tokens that it holds, those of forwards that were handed out included. Always below the slab's capacity: a
            write that is meant for nobody goes to the place after a row's last token.
    """

    slab: "Slab"
    index: int
    length: int = 0

    def copy(self, start: int, stop: int) -> list[mx.array]:
        """Keys and values of each layer in turn, (1, heads, stop - start, size), not evaluated."""
        return [mx.contiguous(each[self.index : self.index + 1, :, start:stop]) for each in self.slab.arrays()]


class Slab:
    """Rows of one capacity: for each layer, keys and values of (rows, heads, capacity, size).

    It grows by a quarter, and is packed when less than three quarters of its rows are in use.

    Attributes:
        capacity: Tokens that a row has room for.
        rows: Who has each row; None for nobody.
    """

    def __init__(self, layers: int, capacity: int) -> None:
        self.capacity = capacity
        self.rows: list[Row | None] = []
        self._keys: list[mx.array | None] = [None] * layers
        self._values: list[mx.array | None] = [None] * layers

    def take(self) -> Row:
        """A row that holds nothing; the lowest that is free."""
        if None not in self.rows:
            self.rows += [None] * max(1, len(self.rows) // 4)
        index = self.rows.index(None)
        row = self.rows[index] = Row(self, index)
        return row

    def free(self, row: Row) -> None:
        """Let others have a row's place."""
        self.rows[row.index] = None
        used = [row for row in self.rows if row is not None]
        if 4 * len(used) < 3 * len(self.rows):
            self._pack(used)

    def write(self, layer: int, where: Any, keys: mx.array, values: mx.array) -> None:
        """Put one layer's keys and values to some place, an index of (rows, heads, tokens, size)."""
        for store, new in ((self._keys, keys), (self._values, values)):
            slab = self._fitted(store[layer], new)
            slab[where] = new
            store[layer] = slab

    def append(self, layer: int, places: mx.array, keys: mx.array, values: mx.array) -> None:
        """Put one layer's key and value of a token to each row.

        Args:
            layer: Which.
            places: int32 (rows, 1, 1, 1): the position in every row.
            keys: (rows, heads, 1, size).
            values: Likewise.
        """
        for store, new in ((self._keys, keys), (self._values, values)):
            slab = self._fitted(store[layer], new)
            index = mx.broadcast_to(places, new.shape)
            store[layer] = mx.put_along_axis(slab, index, new, axis=2)

    def read(self, layer: int, rows: slice | mx.array, tokens: int) -> tuple[mx.array, mx.array]:
        """One layer's keys and values of some rows, the first `tokens` of each."""
        keys, values = self._keys[layer], self._values[layer]
        assert keys is not None
        assert values is not None
        if isinstance(rows, slice):
            return keys[rows, :, :tokens], values[rows, :, :tokens]
        return keys[:, :, :tokens][rows], values[:, :, :tokens][rows]

    def arrays(self) -> list[mx.array]:
        """Everything that is there, keys and values of each layer in turn."""
        return [each for both in zip(self._keys, self._values, strict=True) for each in both if each is not None]

    def _pack(self, used: list[Row]) -> None:
        """Keep only the rows in use, in their order."""
        places = mx.array([row.index for row in used], dtype=mx.int32)
        for store in (self._keys, self._values):
            store[:] = [each[places] if each is not None and used else None for each in store]
        self.rows = list(used)
        for index, row in enumerate(used):
            row.index = index

    def _fitted(self, slab: mx.array | None, like: mx.array) -> mx.array:
        """The slab, or a larger one with the same contents."""
        if slab is None:
            return mx.zeros((len(self.rows), like.shape[1], self.capacity, like.shape[-1]), like.dtype)
        missing = len(self.rows) - slab.shape[0]
        return mx.pad(slab, [(0, missing), (0, 0), (0, 0), (0, 0)]) if missing else slab


class Slabs:
    """All the slabs of a model.

    Args:
        layers: How many the model has.
    """

    def __init__(self, layers: int) -> None:
        self.layers = layers
        self._by_capacity: dict[int, Slab] = {}

    def take(self, tokens: int, begin: Sequence[mx.array] = ()) -> Row:
        """A row with room for so many tokens.

        Args:
            tokens: How many.
            begin: What it begins with: keys and values of each layer in turn, (1, heads, length, size) each.
        """
        row = self._slab(tokens).take()
        if begin:
            _fill(row, begin)
        return row

    def fork(self, row: Row, count: int) -> list[Row]:
        """More rows with the same contents."""
        held = row.copy(0, row.length)
        rows = [self.take(row.length + 1) for _ in range(count)]
        where = (mx.array([each.index for each in rows]), slice(None), slice(0, row.length))
        for layer in range(self.layers):
            rows[0].slab.write(layer, where, held[2 * layer], held[2 * layer + 1])
        for each in rows:
            each.length = row.length
        return rows

    def reserve(self, row: Row, tokens: int) -> None:
        """Make room in a row for so many tokens together; it moves if it has to."""
        if tokens < row.slab.capacity:
            return
        before, index, length = row.slab, row.index, row.length
        kept = row.copy(0, length)
        moved = self._slab(tokens).take()
        if length:
            _fill(moved, kept)
        row.slab, row.index = moved.slab, moved.index
        row.slab.rows[row.index] = row
        self._release(Row(before, index))

    def free(self, row: Row) -> None:
        """Forget a row."""
        self._release(row)

    def arrays(self) -> list[mx.array]:
        """Everything that is there."""
        return [each for slab in self._by_capacity.values() for each in slab.arrays()]

    def _release(self, row: Row) -> None:
        row.slab.free(row)
        if not row.slab.rows:
            del self._by_capacity[row.slab.capacity]

    def _slab(self, tokens: int) -> Slab:
        capacity = row_capacity(tokens + 1, GRANULE, COARSE)
        slab = self._by_capacity.get(capacity)
        if slab is None:
            slab = self._by_capacity[capacity] = Slab(self.layers, capacity)
        return slab


def _fill(row: Row, begin: Sequence[mx.array]) -> None:
    """Put a beginning into an empty row."""
    row.length = begin[0].shape[2]
    where = (slice(row.index, row.index + 1), slice(None), slice(0, row.length))
    for layer in range(len(begin) // 2):
        row.slab.write(layer, where, begin[2 * layer], begin[2 * layer + 1])
