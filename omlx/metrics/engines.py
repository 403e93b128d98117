"""What engines and the catalog count: added up here, so that it goes on when an engine is replaced or the catalog restarts."""

from collections.abc import Callable, Sequence

from prometheus_client import Counter, Histogram

from actors.control import LifeEvent
from omlx.metrics import spec
from omlx.metrics.registry import Registry
from scheduler.stats import SchedulerStats

_PHASES = ("schedule", "forward", "sample", "emit")
_TOTALS = (
    (spec.PREEMPTIONS, "preemptions"),
    (spec.PREFIX_QUERIES, "prefix_queries"),
    (spec.PREFIX_HITS, "prefix_hits"),
    (spec.PREFIX_EVICTIONS, "prefix_evictions"),
)


class EngineMetrics:
    """Counts steps and what becomes of engines; see `omlx.api.ports.EngineObserver`.

    Args:
        registry: Where they are exposed.
        expect: Called with each model of which an engine is heard.
    """

    def __init__(self, registry: Registry, expect: Callable[[str], None]) -> None:
        self._expect = expect
        self._totals = [(registry.counter(metric), attribute) for metric, attribute in _TOTALS]
        self._batch = registry.histogram(spec.BATCH_SIZE)
        self._step_time = registry.histogram(spec.STEP_TIME)
        self._loads = registry.counter(spec.MODEL_LOADS)
        self._load_time = registry.histogram(spec.LOAD_TIME)
        self._evictions = registry.counter(spec.MODEL_EVICTIONS)
        self._restarts = registry.counter(spec.ENGINE_RESTARTS)
        self._meters: dict[str, _StepMeter] = {}

    def stepped(self, model_id: str, before: SchedulerStats, after: SchedulerStats) -> None:
        """An engine of a model has gone on from some numbers to others, by one step or by several at once."""
        meter = self._meters.get(model_id)
        if meter is None:
            self._begin(model_id)
            meter = self._meters[model_id] = _StepMeter(model_id, self._totals, self._batch, self._step_time)
        meter.add(before, after)

    def happened(self, event: LifeEvent) -> None:
        """The catalog tells what became of an engine."""
        self._begin(event.model_id)
        if event.kind == "load":
            self._loads.labels(event.model_id, event.result).inc()
            if event.result == "success":
                self._load_time.labels(event.model_id).observe(event.seconds)
        elif event.kind == "eviction":
            self._evictions.labels(event.model_id, event.result).inc()
        else:
            self._restarts.labels(event.model_id).inc()

    def _begin(self, model_id: str) -> None:
        """Have a model's counters begin at 0."""
        self._expect(model_id)
        self._loads.labels(model_id, "success")
        self._restarts.labels(model_id)
        for reason in ("memory", "idle"):
            self._evictions.labels(model_id, reason)


class _StepMeter:
    """One model's steps, whichever of its engines takes them; finds its series once, as there may be hundreds a second."""

    def __init__(self, model_id: str, totals: Sequence[tuple[Counter, str]], batch: Histogram, step_time: Histogram) -> None:
        self._totals = [(counter.labels(model_id), attribute) for counter, attribute in totals]
        self._batch = batch.labels(model_id)
        self._phases = [(step_time.labels(model_id, phase), f"{phase}_seconds") for phase in _PHASES]

    def add(self, before: SchedulerStats, after: SchedulerStats) -> None:
        for counter, attribute in self._totals:
            if more := getattr(after, attribute) - getattr(before, attribute):
                counter.inc(more)
        steps = after.steps - before.steps
        for _ in range(steps):
            self._batch.observe(after.running)
            for histogram, attribute in self._phases:
                histogram.observe((getattr(after, attribute) - getattr(before, attribute)) / steps)
