"""How likely the model held the tokens that were drawn, for the rows that ask."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx

from scheduler.mlx.draw import exponential
from scheduler.sampling import MAX_TOP_LOGPROBS
from scheduler.step import TokenLogprobs

_LEAST = -9999.0  # stands for minus infinity, which JSON doesn't have


@dataclass(frozen=True, slots=True)
class Logprobs:
    """Logprobs of some rows, not evaluated.

    Attributes:
        rows: Which rows of the step's logits these are.
        counts: How many of the most likely tokens each of them asks for.
        logprob: Of the tokens drawn, float32 (rows,).
        top_ids: The most likely tokens, (rows, n), falling; n is 0 where no row asks for any.
        top_logprobs: Theirs, float32 (rows, n).
    """

    rows: Sequence[int]
    counts: Sequence[int]
    logprob: mx.array
    top_ids: mx.array
    top_logprobs: mx.array

    @classmethod
    def of(cls, logits: mx.array, tokens: mx.array, asked: Sequence[int | None]) -> "Logprobs | None":
        """Logprobs of the rows that ask, or None where none does; only theirs are computed.

        Args:
            logits: (rows, vocabulary), as the model gave them.
            tokens: Those drawn, integers (rows,).
            asked: One a row: how many of the most likely tokens it wants, or None.
        """
        rows = [row for row, count in enumerate(asked) if count is not None]
        if not rows:
            return None
        counts = [count for count in asked if count is not None]
        if len(rows) < len(asked):
            logits, tokens = logits[mx.array(rows)], tokens[mx.array(rows)]
        logits = logits.astype(mx.float32)
        largest = mx.max(logits, axis=-1, keepdims=True)
        norm = largest + mx.log(mx.sum(exponential(logits - largest), axis=-1, keepdims=True))
        # As many for every row, whoever else asks: where logits are equal, which are taken could depend on how many.
        rest = max(logits.shape[-1] - MAX_TOP_LOGPROBS, 0)
        top_ids = mx.argpartition(logits, kth=rest, axis=-1)[:, rest:] if any(counts) else mx.zeros((len(rows), 0), mx.uint32)
        values = mx.take_along_axis(logits, top_ids, axis=-1)
        falling = mx.argsort(-values, axis=-1)
        return cls(
            rows,
            counts,
            (mx.take_along_axis(logits, tokens[:, None], axis=-1) - norm)[:, 0],
            mx.take_along_axis(top_ids, falling, axis=-1),
            mx.take_along_axis(values, falling, axis=-1) - norm,
        )

    def arrays(self) -> list[mx.array]:
        """What is to be evaluated."""
        return [self.logprob, self.top_ids, self.top_logprobs]

    def values(self, tokens: Sequence[int]) -> dict[int, TokenLogprobs]:
        """Each asking row's numbers, by its row; `tokens` are the step's, one a row."""
        columns: Any = [array.tolist() for array in self.arrays()]
        return {
            row: TokenLogprobs(
                tokens[row],
                max(logprob, _LEAST),
                tuple((token, max(value, _LEAST)) for token, value in zip(ids[:count], logprobs[:count], strict=True)),
            )
            for row, count, logprob, ids, logprobs in zip(self.rows, self.counts, *columns, strict=True)
        }
