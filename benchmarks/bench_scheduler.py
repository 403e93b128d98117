"""What deciding costs: microseconds a step of `Scheduler.schedule` and `commit`, without a model.

    python -m benchmarks.bench_scheduler [--short] [--save]

`steady` decodes a full batch for ever. `churn` ends every sequence after 32 tokens, so that at each step some leave, some
come in from the queue, and as many are added behind it.
"""

import argparse
import sys
from itertools import count
from statistics import median
from time import perf_counter

from benchmarks.report import finish, new_document, table
from scheduler.policy import FairShare
from scheduler.request import Request
from scheduler.scheduler import Scheduler, SchedulerConfig
from scheduler.step import StepPlan, StepResult

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
QUEUES = (0, 64, 256, 1024)
ANSWERS = {"steady": 1_000_000, "churn": 32}  # tokens
PROMPT = tuple(range(32))
NAMED = (64, 256)  # running and waiting: the case that results are compared by
_STEP_SECONDS = 0.01  # what computing is said to have taken
WARM_UP = 200  # steps, after which a batch is full and its sequences end at different times


class Load:
    """A scheduler that is kept full, and the steps it takes."""

    def __init__(self, running: int, waiting: int, max_tokens: int) -> None:
        self._scheduler = Scheduler(SchedulerConfig(max_num_seqs=running), FairShare())
        self._ids = count()
        self._held = running + waiting
        self._max_tokens = max_tokens
        for row in range(running):
            self._add(max(1, max_tokens * (row + 1) // running))
        self.measure(WARM_UP)

    def measure(self, steps: int) -> float:
        """Microseconds a step: the decisions alone, not the making of results and requests."""
        spent = 0.0
        for _ in range(steps):
            for _ in range(self._held - self._scheduler.num_running - self._scheduler.num_waiting):
                self._add(self._max_tokens)
            began = perf_counter()
            plan = self._scheduler.schedule()
            spent += perf_counter() - began
            result = _result(plan)
            began = perf_counter()
            self._scheduler.commit(result, _STEP_SECONDS)
            spent += perf_counter() - began
        return spent / steps * 1e6

    def _add(self, max_tokens: int) -> None:
        self._scheduler.add(Request(f"chatcmpl-{next(self._ids):024x}", PROMPT, max_tokens))


def _result(plan: StepPlan) -> StepResult:
    tokens = {sequence.request_id: 1 for sequence in plan.decode}
    return StepResult(tokens | {each.request_id: 1 for chunk in plan.prefill for each in chunk.sampled})


def main() -> int:
    """Measure every case in turn, several times, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="fewer cases and steps")
    parser.add_argument("--save", action="store_true", help="keep the result")
    options = parser.parse_args()
    steps, rounds = (50, 3) if options.short else (200, 7)
    batches, queues = ((1, 16, 64), (0, 256)) if options.short else (BATCHES, QUEUES)
    document = new_document("scheduler", steps=steps, rounds=rounds, prompt_tokens=len(PROMPT), answers=ANSWERS)
    cases = [(running, waiting) for running in batches for waiting in queues]
    loads = {(kind, case): Load(*case, tokens) for kind, tokens in ANSWERS.items() for case in cases}
    measured: dict[tuple[str, tuple[int, int]], list[float]] = {key: [] for key in loads}
    for _ in range(rounds):
        for key, load in loads.items():
            measured[key].append(load.measure(steps))
    figures = [
        {"running": case[0], "waiting": case[1]} | {kind: round(median(measured[kind, case]), 1) for kind in ANSWERS}
        for case in cases
    ]
    document["microseconds_a_step"] = figures
    named = next(figure for figure in figures if (figure["running"], figure["waiting"]) == NAMED)
    document["named"] = named
    rows = [[f["running"], f["waiting"], f["steady"], f["churn"], f["steady"] / f["running"]] for f in figures]
    text = "Microseconds a step to decide and commit\n\n"
    text += table(["running", "waiting", "steady", "churn", "steady/sequence"], rows)
    text += (
        f"\n\n64 running, 256 waiting: {named['steady']:.0f} µs a step, {named['churn']:.0f} µs with sequences that come and go"
    )
    finish(document, text, keep=options.save)
    return 0


if __name__ == "__main__":
    sys.exit(main())
