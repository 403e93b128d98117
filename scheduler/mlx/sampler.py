"""Draws the next token of every row in one call, whatever the rows' parameters."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx

from scheduler.logit_changes import LogitChanges
from scheduler.mlx.draw import draw, in_order, take_rows
from scheduler.mlx.logprobs import Logprobs
from scheduler.sampling import SamplingParams, uniform_draw
from scheduler.step import StepResult


@dataclass(frozen=True, slots=True)
class Draw:
    """One row's draw.

    Attributes:
        params: Its request's.
        position: The token's position in the request's output, from 0.
        changes: Its sequence's, which has seen every token before `position`.
    """

    params: SamplingParams
    position: int
    changes: LogitChanges | None = None

    @property
    def uniform(self) -> float:
        """The row's random number for this position, in [0, 1)."""
        return uniform_draw(self.params.seed, self.position)


@dataclass(frozen=True, slots=True)
class Sampled:
    """What was drawn, not evaluated yet.

    Attributes:
        tokens: uint32 (rows,).
        logprobs: Of the rows that ask, if any does.
    """

    tokens: mx.array
    logprobs: Logprobs | None = None

    def arrays(self) -> list[mx.array]:
        """What is to be evaluated."""
        return [self.tokens, *(self.logprobs.arrays() if self.logprobs else ())]

    def result(self, request_ids: Sequence[str], forward: float = 0.0, sample: float = 0.0) -> StepResult:
        """The drawn tokens by value, given whose each row is and what seconds it took; evaluates what has not been yet."""
        tokens: Any = self.tokens.tolist()
        logprobs = self.logprobs.values(tokens) if self.logprobs else {}
        return StepResult(
            dict(zip(request_ids, tokens, strict=True)),
            {request_ids[row]: found for row, found in logprobs.items()},
            forward,
            sample,
        )


def sample(logits: mx.array, draws: Sequence[Draw]) -> Sampled:
    """Draw one token a row.

    A row's token depends on its own logits, parameters, seed, position and changes alone. Rows pay for what they ask: a
    greedy one with nothing else is an argmax, and logprobs are computed for rows that want them. The order is vLLM's: bias,
    masks and penalties, then temperature, then what is cut off; logprobs are of the logits as they came.

    Args:
        logits: floating (rows, vocabulary).
        draws: One a row.
    """
    tokens = _tokens(_changed(logits, draws), draws)
    return Sampled(tokens, Logprobs.of(logits, tokens, [each.params.logprobs for each in draws]))


def _tokens(logits: mx.array, draws: Sequence[Draw]) -> mx.array:
    greedy = [row for row, each in enumerate(draws) if each.params.greedy]
    if len(greedy) == len(draws):
        return mx.argmax(logits, axis=-1)
    random = [row for row, each in enumerate(draws) if not each.params.greedy]
    params, uniforms = [draws[row].params for row in random], [draws[row].uniform for row in random]
    drawn = draw(take_rows(logits, random), params, uniforms)
    if not greedy:
        return drawn
    return in_order((greedy, mx.argmax(take_rows(logits, greedy), axis=-1)), (random, drawn))


def _changed(logits: mx.array, draws: Sequence[Draw]) -> mx.array:
    """The logits as the rows' changes make them; themselves where there are none. See `LogitChanges`."""
    rows, tokens, bias, factor, loss = array("i"), array("i"), array("f"), array("f"), array("f")
    for row, each in enumerate(draws):
        if each.changes is not None:
            changes = each.changes
            changes.advance(each.position)
            rows.extend(array("i", [row]) * len(changes.tokens))
            tokens.extend(changes.tokens)
            bias.extend(changes.bias)
            factor.extend(changes.factor)
            loss.extend(changes.loss)
    if not rows:
        return logits
    where = (_on_device(rows), _on_device(tokens))
    biased = logits[where].astype(mx.float32) + _on_device(bias)
    strength = _on_device(factor)
    changed = logits.astype(mx.float32)
    changed[where] = mx.where(biased > 0, biased / strength, biased * strength) - _on_device(loss)
    return changed


def _on_device(column: Any) -> mx.array:
    """A flat array's memory as int32 or float32; MLX's types don't say that it takes one."""
    return mx.array(column)
