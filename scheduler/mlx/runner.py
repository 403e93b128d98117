"""Computes a step's plan with an mlx-lm model: one batched decode forward, the prompts' chunks, one sampling call."""

from collections.abc import Sequence as Ordered
from functools import partial
from time import monotonic
from typing import Any, Protocol

import mlx.core as mx
from mlx_lm.models.cache import make_prompt_cache

from scheduler.mlx.blocks import CopyKV, KeptBlocks
from scheduler.mlx.cache import MergedRows, Rows, SeparateRows, arrays, can_merge
from scheduler.mlx.prompt_inputs import Fed, fed_of, gather
from scheduler.mlx.reuse import State, copy_kv, copy_state, restore
from scheduler.mlx.sampler import Draw, Sampled, sample
from scheduler.request import Sequence
from scheduler.step import Chunk, StepPlan, StepResult

_CLEAR_EVERY = 256  # steps after which MLX's cache of freed buffers is returned to the system


class LanguageModel(Protocol):
    """What the runner needs of an mlx-lm model."""

    layers: list[Any]

    def __call__(self, inputs: mx.array, cache: list[Any], **features: Any) -> mx.array:
        """Token ids (rows, length) to logits (rows, length, vocabulary); the caches grow by `length`.

        One that takes more than text has `features` among its parameters, see `scheduler.mlx.vision_language`, and `embed`.
        """
        ...

    def embed(self, tokens: mx.array) -> mx.array:
        """Token ids (tokens,) to embeddings (tokens, size); asked only where a prompt isn't only text."""
        ...


class MlxRunner:
    """Owns one model's rows: the caches of prompts that are going in, and those of the batch being decoded.

    MLX's streams are bound to a thread: create, use and drop a runner on one.
    """

    looks_ahead = False
    launch_blocks = False

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self._prompts: dict[str, list[Any]] = {}
        self._kept = KeptBlocks()
        self._rows: Rows = MergedRows() if can_merge(make_prompt_cache(model)) else SeparateRows()
        self._steps = 0

    def run(self, plan: StepPlan) -> StepResult:
        """Compute a plan; see `scheduler.step.Runner`."""
        began = monotonic()
        mx.eval(self._kept.update(plan, self._kv_of, self._state_of))
        self._drop(plan.dropped)
        if plan.is_empty:
            return StepResult({})
        owners: list[Sequence] = []
        logits: list[mx.array] = []
        touched: list[Any] = []
        by_id = {sequence.request_id: sequence for sequence in plan.decode}
        for ids, caches in self._rows.groups():
            rows = [by_id[request_id] for request_id in ids]
            inputs = mx.array([[row.output[-1]] for row in rows])
            fed = [fed_of(row, row.num_tokens - 2, row.num_tokens - 1) for row in rows]
            logits.append(self._run(inputs, caches, fed)[:, -1, :])
            owners += rows
            touched += caches
        for chunk in plan.prefill:
            last = self._feed(chunk)
            touched += self._prompts[chunk.sequence.request_id]
            if chunk.is_last:
                logits.append(mx.repeat(last, len(chunk.sampled), axis=0) if chunk.forks else last)
                owners += chunk.sampled
        mx.eval(logits, arrays(touched))
        computed = monotonic()
        sampled = self._sample(logits, owners)
        self._join(plan.prefill)
        self._steps += 1
        if self._steps % _CLEAR_EVERY == 0:
            mx.clear_cache()
        if sampled is None:
            return StepResult({}, forward=computed - began)
        mx.eval(sampled.arrays())
        return sampled.result([owner.request_id for owner in owners], computed - began, monotonic() - computed)

    def _kv_of(self, request_id: str) -> CopyKV:
        return partial(copy_kv, *self._find(request_id))

    def _state_of(self, request_id: str) -> State:
        return copy_state(*self._find(request_id))

    def _find(self, request_id: str) -> tuple[Ordered[Any], int]:
        """See `Rows.find`; a row whose prompt was still going in is among the prompts."""
        caches = self._prompts.get(request_id)
        return self._rows.find(request_id) if caches is None else (caches, 0)

    def _feed(self, chunk: Chunk) -> mx.array:
        """Feed a chunk to the model: the logits of its last position, (1, vocabulary), not evaluated."""
        sequence = chunk.sequence
        if chunk.is_first:
            caches = self._prompts[sequence.request_id] = make_prompt_cache(self._model)
            if sequence.reused.tokens:
                restore(caches, self._kept.beginning(sequence), self._kept.state(sequence), sequence.reused.tokens)
        inputs = mx.array([[max(0, token) for token in sequence.context[chunk.start : chunk.stop]]])
        fed = [fed_of(sequence, chunk.start, chunk.stop)]
        return self._run(inputs, self._prompts[sequence.request_id], fed)[:, -1, :]

    def _run(self, inputs: mx.array, caches: list[Any], fed: Ordered[Fed]) -> mx.array:
        """The model's logits of tokens, (rows, length), or of what stands for them."""
        if all(each.inputs is None for each in fed):
            return self._model(inputs, cache=caches)
        features = gather(self._model.embed, inputs.reshape(-1), fed)
        return self._model(inputs, cache=caches, features=features)

    def _sample(self, logits: list[mx.array], owners: list[Sequence]) -> Sampled | None:
        if not owners:
            return None
        draws = [Draw(owner.request.sampling, owner.position, owner.changes) for owner in owners]
        return sample(logits[0] if len(logits) == 1 else mx.concatenate(logits), draws)

    def _join(self, chunks: tuple[Chunk, ...]) -> None:
        for chunk in chunks:
            if chunk.is_last:
                caches = self._prompts.pop(chunk.sequence.request_id)
                self._rows.add([sequence.request_id for sequence in chunk.sampled], caches)

    def _drop(self, request_ids: tuple[str, ...]) -> None:
        if not request_ids:
            return
        for request_id in request_ids:
            self._prompts.pop(request_id, None)
        self._rows.remove(request_ids)
