"""The KV that is kept for sequences to come, in segments; what is kept, the plan says."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import mlx.core as mx

from scheduler.mlx.reuse import State
from scheduler.request import Sequence
from scheduler.step import StepPlan

CopyKV = Callable[[int, int], list[mx.array]]
"""Positions (start, stop) of a row to copies of its keys and values in each layer in turn, (1, heads, stop - start, size)."""
CopyState = Callable[[str], State]
"""A sequence's id to copies of what its row holds beyond plain KV."""


@dataclass(slots=True, eq=False)
class _Segment:
    """The KV of neighbouring blocks, which were kept together.

    Attributes:
        arrays: Keys and values of each layer in turn, (1, heads, tokens, size).
        tokens: How many tokens there are.
        used: For how many of them, from the first, there is a block still. The blocks of a segment go on from each other, and a
            block is forgotten before those that it goes on from.
    """

    arrays: list[mx.array]
    tokens: int
    used: int


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a block's KV is: tokens `start` … `stop - 1` of a segment."""

    segment: _Segment
    start: int
    stop: int


class KeptBlocks:
    """The tensors of the prefix cache's blocks and checkpoints, by their ids.

    What one `keep` of a sequence adds is one segment: one copy of its keys and one of its values a layer, however many blocks
    there are. As soon as less than half of a segment is used, what is used is copied and the rest freed. So after the arrays
    that `update` returned are evaluated, all segments together take at most twice what their blocks take (and up to 16 KiB an
    array, by which MLX lets a buffer be too large before it copies).
    """

    def __init__(self) -> None:
        self._places: dict[int, _Place] = {}
        self._states: dict[int, State] = {}

    def update(self, plan: StepPlan, row: Callable[[str], CopyKV], state: CopyState | None = None) -> list[mx.array]:
        """Copy what a plan wants kept out of the rows, and forget what is not wanted any more.

        Args:
            plan: The plan.
            row: Gives what copies a sequence's KV, by its id.
            state: Copies the rest of a row, where there are checkpoints.

        Returns:
            Arrays that the caller has to evaluate before it writes to any row: until then they hold on to the rows and to what
            was forgotten, and MLX would have to copy the rows' whole memory to write to it.
        """
        unwanted = set(plan.forget)
        new: list[mx.array] = []
        for request_id, kept in plan.keep:
            if kept.checkpoint is not None and kept.checkpoint not in unwanted:
                assert state is not None
                self._states[kept.checkpoint] = state(request_id)
                new += [array for arrays in self._states[kept.checkpoint] for array in arrays if array is not None]
            wanted = [each for each in kept.blocks if each.block_id not in unwanted]
            if wanted:
                first, last = wanted[0].start, wanted[-1].stop
                segment = _Segment(row(request_id)(first, last), last - first, last - first)
                new += segment.arrays
                for each in wanted:
                    self._places[each.block_id] = _Place(segment, each.start - first, each.stop - first)
        return new + self._forget(plan.forget)

    def state(self, sequence: Sequence) -> State:
        """What else a sequence's row begins with; empty where there is only KV."""
        checkpoint = sequence.reused.checkpoint
        return [] if checkpoint is None else self._states[checkpoint.checkpoint_id]

    def beginning(self, sequence: Sequence) -> list[mx.array]:
        """The KV that a sequence's row begins with: keys and values of each layer in turn, (1, heads, tokens, size).

        Not evaluated; empty when the row begins from nothing.
        """
        runs = list(self._runs(sequence))
        if not runs:
            return []
        layers = zip(*([array[:, :, run.start : run.stop] for array in run.segment.arrays] for run in runs), strict=True)
        return [pieces[0] if len(pieces) == 1 else mx.concatenate(list(pieces), axis=2) for pieces in layers]

    def _runs(self, sequence: Sequence) -> Iterator[_Place]:
        """Where the KV is that a row begins with, neighbours in one segment taken together."""
        run: _Place | None = None
        left = sequence.reused.tokens
        for block in sequence.reused.blocks:
            place = self._places[block.block_id]
            place = _Place(place.segment, place.start, min(place.stop, place.start + left))
            left -= place.stop - place.start
            if run is not None and run.segment is place.segment and run.stop == place.start:
                run = _Place(run.segment, run.start, place.stop)
                continue
            if run is not None:
                yield run
            run = place
        if run is not None:
            yield run

    def _forget(self, ids: tuple[int, ...]) -> list[mx.array]:
        """Forget blocks and checkpoints: the arrays that what is left of the blocks' segments is copied to."""
        cut: dict[int, _Segment] = {}
        for number in ids:
            self._states.pop(number, None)
            place = self._places.pop(number, None)
            if place is not None:
                assert place.stop == place.segment.used, "a block is forgotten before one that goes on from it"
                place.segment.used = place.start
                cut[id(place.segment)] = place.segment
        copied: list[mx.array] = []
        for segment in cut.values():
            if 0 < segment.used < segment.tokens / 2:
                segment.arrays = [mx.contiguous(array[:, :, : segment.used]) for array in segment.arrays]
                segment.tokens = segment.used
                copied += segment.arrays
        return copied
