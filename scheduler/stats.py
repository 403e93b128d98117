"""The scheduler's numbers, by value: what an engine reports of itself with each step."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SchedulerStats:
    """One engine's state after a step, and its totals since it started.

    Attributes:
        running: Sequences with a row in the batch.
        waiting: Sequences that wait to be admitted, for the first time or after a preemption.
        kv_bytes: What the KV of the running ones takes.
        kv_budget: What it may take; 0 where there is no bound.
        preemptions: Sequences that had to give their row back, since the engine started.
        prefix_bytes: What the KV kept for other requests takes.
        prefix_queries: Tokens looked up among it, since the engine started.
        prefix_hits: Those found.
        prefix_evictions: Blocks that had to go.
        steps: Steps taken.
        prompt_tokens: Prompt tokens fed to the model.
        generation_tokens: Tokens sampled for a sequence.
        schedule_seconds, forward_seconds, sample_seconds, emit_seconds: Time spent on each phase of the steps; see
            `scheduler.step.StepTimes`.
    """

    running: int = 0
    waiting: int = 0
    kv_bytes: int = 0
    kv_budget: int = 0
    preemptions: int = 0
    prefix_bytes: int = 0
    prefix_queries: int = 0
    prefix_hits: int = 0
    prefix_evictions: int = 0
    steps: int = 0
    prompt_tokens: int = 0
    generation_tokens: int = 0
    schedule_seconds: float = 0.0
    forward_seconds: float = 0.0
    sample_seconds: float = 0.0
    emit_seconds: float = 0.0
