"""Computes a step's plan in one packed forward; for models that `scheduler.mlx.packed` can run."""

from functools import partial
from typing import Any

import mlx.core as mx

from scheduler.mlx.blocks import KeptBlocks
from scheduler.mlx.head import LastPosition
from scheduler.mlx.packed import Slab, forward
from scheduler.mlx.sampler import Draw, sample
from scheduler.step import StepPlan, StepResult

_CLEAR_EVERY = 256  # steps after which MLX's cache of freed buffers is returned to the system


class PackedRunner:
    """Owns every sequence's KV, and the blocks that are kept. See `scheduler.step.Runner`.

    MLX's streams are bound to a thread: create, use and drop a runner on one.

    Args:
        model: The model.
        head: Its vocabulary head, which is told whose logits are wanted.
    """

    def __init__(self, model: Any, head: LastPosition) -> None:
        self._model = model
        self._head = head
        self._slab = Slab(len(model.layers))
        self._rows: dict[str, int] = {}
        self._kept = KeptBlocks()
        self._steps = 0

    def run(self, plan: StepPlan) -> StepResult:
        """Compute a plan; see `scheduler.step.Runner`."""
        mx.eval(self._kept.update(plan, lambda request_id: partial(self._slab.copy, self._rows[request_id])))
        for request_id in plan.dropped:
            row = self._rows.pop(request_id, None)
            if row is not None:
                self._slab.free_row(row)
        if plan.is_empty:
            return StepResult({})
        owners = sorted(plan.decode, key=lambda sequence: self._rows[sequence.request_id])
        singles = [(self._rows[sequence.request_id], sequence.output[-1]) for sequence in owners]
        wanted = list(range(len(singles)))
        tokens = len(singles)
        chunks = []
        for chunk in plan.prefill:
            sequence = chunk.sequence
            if chunk.is_first:
                self._rows[sequence.request_id] = self._slab.take_row(self._kept.beginning(sequence))
            chunks.append((self._rows[sequence.request_id], sequence.context[chunk.start : chunk.stop]))
            tokens += chunk.stop - chunk.start
            if chunk.is_last:
                wanted.append(tokens - 1)
                owners.append(sequence)
        self._head.rows = mx.array(wanted or [tokens - 1], dtype=mx.int32)
        logits = forward(self._model, self._slab, singles, chunks)[:, -1, :]
        slabs = self._slab.arrays()
        self._steps += 1
        if self._steps % _CLEAR_EVERY == 0:
            mx.clear_cache()
        if not owners:
            mx.eval(slabs)
            return StepResult({})
        draws = [Draw(owner.request.sampling, len(owner.output), owner.changes) for owner in owners]
        sampled = sample(logits, draws)
        mx.eval(sampled.arrays(), slabs)
        return sampled.result([owner.request_id for owner in owners])
