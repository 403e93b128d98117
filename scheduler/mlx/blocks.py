"""The KV that is kept for sequences to come, block by block; what is kept, the plan says."""

from collections.abc import Callable

import mlx.core as mx

from scheduler.prefix_cache import BLOCK_TOKENS
from scheduler.request import Sequence
from scheduler.step import StepPlan

CopyKV = Callable[[int, int], list[mx.array]]
"""Positions (start, stop) of a row to copies of its keys and values in each layer in turn, (1, heads, stop - start, size)."""


class KeptBlocks:
    """The tensors of the prefix cache's blocks, by their ids."""

    def __init__(self) -> None:
        self._kv: dict[int, list[mx.array]] = {}

    def update(self, plan: StepPlan, row: Callable[[str], CopyKV]) -> None:
        """Copy what a plan wants kept out of the rows, and forget what is not wanted any more.

        Args:
            plan: The plan.
            row: Gives what copies a sequence's KV, by its id.
        """
        unwanted = set(plan.forget)
        for request_id, kept in plan.keep:
            copy = row(request_id)
            for each in kept:
                if each.block_id not in unwanted:
                    self._kv[each.block_id] = copy(each.start, each.start + BLOCK_TOKENS)
                    mx.eval(self._kv[each.block_id])  # now: a graph that waits would hold on to the whole row
        for block_id in unwanted:
            self._kv.pop(block_id, None)

    def beginning(self, sequence: Sequence) -> list[list[mx.array]]:
        """The KV that a sequence's row begins with, block by block; empty when it begins from nothing."""
        return [self._kv[block.block_id] for block in sequence.reused]
