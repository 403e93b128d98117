"""Computes a step's plan in one packed forward; for models that `scheduler.mlx.packed` can run."""

from collections.abc import Sequence as Ordered
from dataclasses import dataclass
from time import monotonic
from typing import Any

import mlx.core as mx

from scheduler.mlx.blocks import KeptBlocks
from scheduler.mlx.device import device_kind
from scheduler.mlx.head import LastPosition
from scheduler.mlx.packed import PackedStep, attend_by_cache, forward, place
from scheduler.mlx.parts import Span
from scheduler.mlx.prompt_inputs import Features, fed_of, gather
from scheduler.mlx.sampler import Draw, Sampled, sample
from scheduler.mlx.slab import Row, Slabs
from scheduler.request import Sequence
from scheduler.step import Computing, StepPlan, StepResult

_CLEAR_EVERY = 256  # steps after which MLX's cache of freed buffers is returned to the system


class PackedRunner:
    """Owns every sequence's KV, and the blocks that are kept. See `scheduler.step.Runner`.

    MLX's streams are bound to a thread: create, use and drop a runner on one.

    Args:
        model: The model.
        head: Its vocabulary head, which is told whose logits are wanted.
    """

    looks_ahead = True

    def __init__(self, model: Any, head: LastPosition) -> None:
        attend_by_cache()
        self._model = model
        self._head = head
        self._slabs = Slabs(len(model.layers))
        self._rows: dict[str, Row] = {}
        self._kept = KeptBlocks()
        self._drawn = _Drawn()
        self._steps = 0
        self.launch_blocks = device_kind() == "cpu"

    def run(self, plan: StepPlan) -> Computing:
        """Compute a plan; see `scheduler.step.Runner`."""
        began = monotonic()
        kept = self._kept.update(plan, lambda request_id: self._rows[request_id].copy)
        for request_id in plan.dropped:
            row = self._rows.pop(request_id, None)
            if row is not None:
                self._slabs.free(row)
        if plan.is_empty:
            mx.eval(kept)
            return StepResult({})
        self._steps += 1
        if self._steps % _CLEAR_EVERY == 0:
            mx.clear_cache()
        logits, owners = self._forward(plan)
        # What is kept is read before anything is written, and waited for: a write to an array that has still to be read copies it.
        mx.eval(kept)
        if not owners:
            return _Underway(self._slabs, logits, None, (), monotonic() - began)
        sampled = sample(logits, [Draw(owner.request.sampling, owner.position, owner.changes) for owner in owners])
        ids = [owner.request_id for owner in owners]
        self._drawn = _Drawn(sampled.tokens, {request_id: index for index, request_id in enumerate(ids)})
        return _Underway(self._slabs, logits, sampled, ids, monotonic() - began)

    def _forward(self, plan: StepPlan) -> tuple[mx.array, list[Sequence]]:
        """The logits that are wanted, (sequences, vocabulary), or one that isn't, and the sequences that they are for."""
        for sequence in plan.decode:
            row = self._rows[sequence.request_id]
            self._slabs.reserve(row, row.length + 1)
        owners = sorted(plan.decode, key=lambda sequence: place(self._rows[sequence.request_id]))
        singles = [self._rows[sequence.request_id] for sequence in owners]
        tokens = [self._drawn.last_tokens(owners)] if owners else []
        wanted = list(range(len(owners)))
        chunks: list[Span] = []
        for chunk in plan.prefill:
            sequence = chunk.sequence
            if chunk.is_first:
                self._rows[sequence.request_id] = self._begin(sequence)
            wanted += [len(singles) + len(chunks)] * len(chunk.sampled)
            owners += chunk.sampled
            chunks.append(Span(self._rows[sequence.request_id], chunk.stop - chunk.start))
        if plan.prefill:
            prompts = [max(0, token) for chunk in plan.prefill for token in chunk.sequence.context[chunk.start : chunk.stop]]
            tokens.append(mx.array(prompts, dtype=mx.uint32))
        step = PackedStep(singles, chunks)
        self._head.rows = mx.array([step.ends[number] for number in wanted or [0]], dtype=mx.int32)
        given = tokens[0] if len(tokens) == 1 else mx.concatenate(tokens)
        logits = forward(self._model, step, given, self._features(plan, owners[: len(singles)], given))
        for chunk in plan.prefill:
            if chunk.forks:
                forks = self._slabs.fork(self._rows[chunk.sequence.request_id], len(chunk.forks))
                self._rows.update(zip((fork.request_id for fork in chunk.forks), forks, strict=True))
        return logits[:, -1, :], owners

    def _features(self, plan: StepPlan, decoded: Ordered[Sequence], tokens: mx.array) -> Features | None:
        """What stands for the step's tokens, where some are of prompts that aren't only text."""
        sequences = [*decoded, *(chunk.sequence for chunk in plan.prefill)]
        if all(sequence.request.inputs is None for sequence in sequences):
            return None
        lengths = [self._rows[sequence.request_id].length for sequence in sequences]
        counts = [1] * len(decoded) + [chunk.stop - chunk.start for chunk in plan.prefill]
        fed = [fed_of(each, length, length + count) for each, length, count in zip(sequences, lengths, counts, strict=True)]
        return gather(self._model.embed, tokens, fed)

    def _begin(self, sequence: Sequence) -> Row:
        """A row with room for a sequence's context, that begins with what is kept of it."""
        return self._slabs.take(len(sequence.context), self._kept.beginning(sequence))


@dataclass(frozen=True, slots=True)
class _Drawn:
    """The tokens that the latest step draws, and whose they are; not known yet, maybe."""

    tokens: mx.array | None = None
    index: dict[str, int] | None = None

    def last_tokens(self, sequences: Ordered[Sequence]) -> mx.array:
        """The token that each sequence goes on from, uint32 (sequences,)."""
        known = [sequence.output[-1] if sequence.in_flight == 1 else 0 for sequence in sequences]
        if all(sequence.in_flight == 1 for sequence in sequences):
            return mx.array(known, dtype=mx.uint32)
        assert self.tokens is not None
        assert self.index is not None
        count = self.tokens.size
        source = [
            count + place if sequence.in_flight == 1 else self.index[sequence.request_id]
            for place, sequence in enumerate(sequences)
        ]
        if source == list(range(count)):
            return self.tokens
        return mx.concatenate([self.tokens, mx.array(known, dtype=mx.uint32)])[mx.array(source, dtype=mx.int32)]


@dataclass(frozen=True, slots=True)
class _Underway:
    """A step that the device is to compute. See `scheduler.step.Computing`.

    Attributes:
        slabs: What it writes to.
        logits: What its tokens are drawn from.
        sampled: What is drawn, for whom `ids` say, if for anybody.
        built: Seconds that it took to say what is to be computed.
    """

    slabs: Slabs
    logits: mx.array
    sampled: Sampled | None
    ids: Ordered[str]
    built: float

    def launch(self) -> None:
        # Nothing but the runner may hold on to the slabs' arrays: a write to an array that somebody else can see copies all of it.
        mx.async_eval(self._wanted(), self.slabs.arrays())  # type: ignore[no-untyped-call]

    def wait(self) -> StepResult:
        began = monotonic()
        mx.eval(self._wanted())
        if self.sampled is None:
            return StepResult({}, forward=self.built, sample=monotonic() - began)
        return self.sampled.result(self.ids, self.built, monotonic() - began)

    def _wanted(self) -> list[mx.array]:
        return [self.logits] if self.sampled is None else self.sampled.arrays()
