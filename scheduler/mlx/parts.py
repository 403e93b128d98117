"""Who attends with whom in one packed step: rows that get one token, and chunks of prompts.

Each part takes its tokens' keys and values to their rows and gives their attention, one layer at a time. A token is a row of length
1 to the model, so what a layer has of a part is (tokens, heads, 1, size).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import mlx.core as mx

from scheduler.mlx.attention import Visible, attend_chunk, attend_chunks, attend_rows, attends_together, fills_rows
from scheduler.mlx.slab import Row, Slab


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens of one sequence that follow each other: `count` of them, after what its row holds."""

    row: Row
    count: int


@dataclass(frozen=True, slots=True)
class Singles:
    """Rows of one slab that get a token each.

    There may be tokens for all the slab's rows, of which some are nobody's, where that is faster. What is written for nobody goes
    after a row's last token, where nothing stands yet.

    Attributes:
        slab: Theirs.
        first, stop: Which of the step's tokens are theirs.
        source: Which row's token each of them is, as a number among the rows that get one.
        ends: Where each row's token is among theirs.
        positions: Each token's position in its sequence.
        rows: Rows of the slab that are read, those of others and of nobody among them.
        longest: Tokens that are read of each.
        places: int32 (all the slab's rows, 1, 1, 1): where each row's token goes.
        visible: What each row read may see; None where every row is as long.
        spread: Which token each row of the slab gets, int32 (all rows,); None where they are in order.
        asked: Which token each row read is asked about, int32 (rows read,), and
        answers: which of the rows read is each token's, int32 (tokens,); None where they are in order.
    """

    slab: Slab
    first: int
    stop: int
    source: list[int]
    ends: list[int]
    positions: list[int]
    rows: slice
    longest: int
    places: mx.array
    visible: Visible | None
    spread: mx.array | None = None
    asked: mx.array | None = None
    answers: mx.array | None = None

    @classmethod
    def of(cls, rows: Sequence[Row], first: int) -> "Singles":
        """Some rows of one slab, in the slab's order, whose tokens begin at `first`."""
        slab = rows[0].slab
        held, count = len(slab.rows), len(rows)
        places = [row.length if row is not None else 0 for row in slab.rows]
        where = mx.array(places, dtype=mx.int32).reshape(held, 1, 1, 1)
        longest = max(row.length for row in rows) + 1
        lengths = [1] * held
        spread = [0] * held
        for token, row in enumerate(rows):
            lengths[row.index] = row.length + 1
            spread[row.index] = token
        indices = [row.index for row in rows]
        if fills_rows(count, held):
            visible = Visible(lengths, longest) if held > 1 else None
            return cls(slab, first, first + held, spread, indices, places, slice(0, held), longest, where, visible)
        low, high = indices[0], indices[-1] + 1
        dense = count == high - low
        return cls(
            slab,
            first,
            first + count,
            source=list(range(count)),
            ends=list(range(count)),
            positions=[row.length for row in rows],
            rows=slice(low, high),
            longest=longest,
            places=where,
            visible=None if dense and min(lengths[low:high]) == longest else Visible(lengths[low:high], longest),
            spread=None if count == held else mx.array(spread, dtype=mx.int32),
            asked=None if dense else mx.array(spread[low:high], dtype=mx.int32),
            answers=None if dense else mx.array([index - low for index in indices], dtype=mx.int32),
        )

    def append(self, layer: int, keys: mx.array, values: mx.array) -> None:
        """Take one layer's keys and values, (tokens, heads, 1, size)."""
        if self.stop - self.first == 1:  # a write to one place costs less than one to many
            row, at = self.rows.start, self.longest - 1
            self.slab.write(layer, (slice(row, row + 1), slice(None), slice(at, at + 1)), keys, values)
        elif self.spread is None:
            self.slab.append(layer, self.places, keys, values)
        else:
            self.slab.append(layer, self.places, keys[self.spread], values[self.spread])

    def attend(self, layer: int, queries: mx.array, scale: float) -> mx.array:
        """Attention of the tokens, (tokens, heads, 1, size), each to its row."""
        keys, values = self.slab.read(layer, self.rows, self.longest)
        if self.asked is None:
            return attend_rows(queries, keys, values, scale, self.visible)
        return attend_rows(queries[self.asked], keys, values, scale, self.visible)[self.answers]


@dataclass(frozen=True, slots=True)
class OneChunk:
    """Several tokens of one row."""

    row: Row
    first: int
    stop: int
    start: int

    @classmethod
    def of(cls, span: Span, first: int) -> "OneChunk":
        """A span whose tokens begin at `first` of the step's."""
        return cls(span.row, first, first + span.count, span.row.length)

    def append(self, layer: int, keys: mx.array, values: mx.array) -> None:
        """Take one layer's keys and values of the chunk's tokens, (tokens, heads, 1, size)."""
        end = self.start + self.stop - self.first
        where = (slice(self.row.index, self.row.index + 1), slice(None), slice(self.start, end))
        self.row.slab.write(layer, where, keys.transpose(2, 1, 0, 3), values.transpose(2, 1, 0, 3))

    def attend(self, layer: int, queries: mx.array, scale: float) -> mx.array:
        """Attention of the chunk's tokens, (tokens, heads, 1, size)."""
        end = self.start + self.stop - self.first
        keys, values = self.row.slab.read(layer, slice(self.row.index, self.row.index + 1), end)
        return attend_chunk(queries.transpose(2, 1, 0, 3), keys, values, scale).transpose(2, 1, 0, 3)


@dataclass(frozen=True, slots=True)
class ChunkBatch:
    """Several tokens of several rows of one slab, which attend together: fewer operations, with padding.

    Attributes:
        slab: Theirs.
        first, stop: Which of the step's tokens are theirs.
        rows: int32 (chunks,), their places in the slab.
        span: Tokens that are read of each.
        token_rows, token_places: int32 (tokens,): where each token's key and value go.
        take: int32 (chunks, length): which of the tokens each chunk's are; any, past its end.
        back: int32 (tokens,): where each token is in `take`, flat.
        mask: bool (chunks, length, span).
    """

    slab: Slab
    first: int
    stop: int
    rows: mx.array
    span: int
    token_rows: mx.array
    token_places: mx.array
    take: mx.array
    back: mx.array
    mask: mx.array

    @classmethod
    def of(cls, spans: Sequence[Span], first: int) -> "ChunkBatch":
        """The chunks of rows of one slab, whose tokens begin at `first` of the step's."""
        length = max(span.count for span in spans)
        rows: list[int] = []
        places: list[int] = []
        take: list[int] = []
        back: list[int] = []
        for number, span in enumerate(spans):
            begin = len(rows)
            rows += [span.row.index] * span.count
            places += range(span.row.length, span.row.length + span.count)
            take += [begin + min(token, span.count - 1) for token in range(length)]
            back += range(number * length, number * length + span.count)
        end = max(span.row.length + span.count for span in spans)
        starts = mx.array([span.row.length for span in spans], dtype=mx.int32)
        last = starts[:, None] + mx.arange(length)[None]
        return cls(
            spans[0].row.slab,
            first,
            first + len(rows),
            mx.array([span.row.index for span in spans], dtype=mx.int32),
            end,
            mx.array(rows, dtype=mx.int32),
            mx.array(places, dtype=mx.int32),
            mx.array(take, dtype=mx.int32).reshape(len(spans), length),
            mx.array(back, dtype=mx.int32),
            mx.arange(end)[None, None] <= last[..., None],
        )

    def append(self, layer: int, keys: mx.array, values: mx.array) -> None:
        """Take one layer's keys and values of the chunks' tokens, (tokens, heads, 1, size)."""
        self.slab.write(layer, (self.token_rows, slice(None), self.token_places), keys[:, :, 0], values[:, :, 0])

    def attend(self, layer: int, queries: mx.array, scale: float) -> mx.array:
        """Attention of the chunks' tokens, (tokens, heads, 1, size)."""
        keys, values = self.slab.read(layer, self.rows, self.span)
        asked = queries[:, :, 0][self.take].transpose(0, 2, 1, 3)
        mixed = attend_chunks(asked, keys, values, scale, self.mask).transpose(0, 2, 1, 3)
        return mixed.reshape(-1, *mixed.shape[2:])[self.back][:, :, None]


def in_batches(chunks: Sequence[Span]) -> Iterator[list[Span]]:
    """The chunks, neighbours together where that is faster."""
    batch: list[Span] = []
    for span in chunks:
        more = [*batch, span]
        length, end = max(s.count for s in more), max(s.row.length + s.count for s in more)
        if batch and not (span.row.slab is batch[0].row.slab and attends_together(len(more), length, end)):
            yield batch
            batch = []
        batch.append(span)
    if batch:
        yield batch
