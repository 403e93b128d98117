"""One step of an engine: decide, compute, commit. Owned by a single thread; there are no locks."""

from dataclasses import dataclass
from time import monotonic

from scheduler.policy import FairShare, Policy
from scheduler.request import Request
from scheduler.scheduler import Scheduler, SchedulerConfig
from scheduler.stats import SchedulerStats
from scheduler.step import Computing, Runner, StepOutput, StepPlan, StepTimes, TokenEvent


@dataclass(frozen=True, slots=True)
class _Step:
    """A plan that was given out, and when."""

    plan: StepPlan
    computing: Computing
    began: float


class EngineCore:
    """A scheduler and the runner that obeys it. Clients share fairly within a priority unless another policy is given."""

    def __init__(self, runner: Runner, config: SchedulerConfig, policy: Policy | None = None) -> None:
        self._runner = runner
        self._scheduler = Scheduler(config, FairShare() if policy is None else policy)
        self._stats = SchedulerStats()
        self._ahead: _Step | None = None
        self._finished = 0.0  # when the last result was there

    def add(self, *requests: Request) -> None:
        """Queue a request, or several of one prompt, which is fed once for all that there is room for.

        Raises `DuplicateRequestError` when an id is already held, and `RequestTooLargeError` when one can't be run.
        """
        self._scheduler.add(*requests)

    def abort(self, request_id: str) -> bool:
        """End a request; its row is out of the batch at the next step. False when it isn't here."""
        return self._scheduler.abort(request_id)

    def resize(self, max_num_seqs: int) -> None:
        """Change how many sequences may be in the batch; see `Scheduler.resize`."""
        self._scheduler.resize(max_num_seqs)

    def step(self) -> StepOutput:
        """Take one step, and say what came of it.

        With a runner that looks ahead, a step's plan is made and given out while the one before is being computed, so that
        the device doesn't wait for decisions; what came of it is said by the next step. Where launching blocks, it is launched by the
        next step, lest the result of the one before be kept back all that time.
        """
        events: tuple[TokenEvent, ...] = ()
        times = StepTimes()
        ahead, self._ahead = self._ahead, None
        if ahead is not None and self._runner.launch_blocks:
            self._launch(ahead, times)
        if ahead is not None and not self._scheduler.can_look_ahead:
            events = self._finish(ahead, times)
            ahead = None
        began = monotonic()
        plan = self._scheduler.schedule()
        planned = monotonic()
        times.schedule = planned - began
        step = _Step(plan, self._runner.run(plan), planned)
        is_last = plan.is_empty or not self._runner.looks_ahead
        if is_last or not self._runner.launch_blocks:
            self._launch(step, times)
        if ahead is not None:
            events += self._finish(ahead, times)
        if is_last:
            events += self._finish(step, times)
        else:
            self._ahead = step
        self._count(plan, len(events), times)
        return StepOutput(events, times)

    @property
    def has_work(self) -> bool:
        """Whether `step` has anything to do."""
        return self._scheduler.has_work

    @property
    def stats(self) -> SchedulerStats:
        """The numbers as of the last step."""
        return self._stats

    def request_ids(self) -> tuple[str, ...]:
        """Every request that has not ended."""
        return self._scheduler.request_ids()

    def check_integrity(self) -> None:
        """Raise `AssertionError` when the scheduler's own books don't balance."""
        self._scheduler.check_integrity()

    def _launch(self, step: "_Step", times: StepTimes) -> None:
        began = monotonic()
        step.computing.launch()
        times.forward += monotonic() - began

    def _finish(self, step: "_Step", times: StepTimes) -> tuple[TokenEvent, ...]:
        """Wait for a step's result and commit it."""
        result = step.computing.wait()
        now = monotonic()
        events = self._scheduler.commit(result, now - max(step.began, self._finished))
        self._finished = now
        times.forward += result.forward
        times.sample += result.sample
        times.emit += monotonic() - now
        return events

    def _count(self, plan: StepPlan, generated: int, times: StepTimes) -> None:
        was = self._stats
        prefixes = self._scheduler.prefix_cache
        self._stats = SchedulerStats(
            running=self._scheduler.num_running,
            waiting=self._scheduler.num_waiting,
            kv_bytes=self._scheduler.kv_bytes,
            kv_budget=self._scheduler.config.kv_budget or 0,
            preemptions=self._scheduler.num_preemptions,
            prefix_bytes=prefixes.bytes if prefixes else 0,
            prefix_queries=prefixes.queries if prefixes else 0,
            prefix_hits=prefixes.hits if prefixes else 0,
            prefix_evictions=prefixes.evictions if prefixes else 0,
            steps=was.steps + 1,
            prompt_tokens=was.prompt_tokens + plan.prompt_tokens,
            generation_tokens=was.generation_tokens + generated,
            schedule_seconds=was.schedule_seconds + times.schedule,
            forward_seconds=was.forward_seconds + times.forward,
            sample_seconds=was.sample_seconds + times.sample,
            emit_seconds=was.emit_seconds + times.emit,
        )
