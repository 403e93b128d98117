"""Reads the engines' latest numbers when Prometheus asks for them."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from omlx.metrics import spec
from scheduler.stats import SchedulerStats

EngineStats = Callable[[], Mapping[str, SchedulerStats]]
_Family = CounterMetricFamily | GaugeMetricFamily

# Each metric, and the field of `SchedulerStats` that it shows.
_SHOWN = (
    (spec.REQUESTS_RUNNING, "running"),
    (spec.REQUESTS_WAITING, "waiting"),
    (spec.KV_BYTES, "kv_bytes"),
    (spec.KV_BUDGET, "kv_budget"),
    (spec.PREEMPTIONS, "preemptions"),
    (spec.PREFIX_BYTES, "prefix_bytes"),
    (spec.PREFIX_QUERIES, "prefix_queries"),
    (spec.PREFIX_HITS, "prefix_hits"),
)


class EngineCollector(Collector):
    """The engines' queues and caches; an engine that is gone has no series any more."""

    def __init__(self, engine_stats: EngineStats) -> None:
        self._engine_stats = engine_stats

    def collect(self) -> Iterator[_Family]:
        """The numbers as they are now."""
        engines = self._engine_stats()
        for metric, attribute in _SHOWN:
            family = _family(metric)
            for model_id, stats in engines.items():
                family.add_metric([model_id], getattr(stats, attribute))
            yield family

    def describe(self) -> Iterator[_Family]:
        """The metrics' names, without asking anybody."""
        for metric, _ in _SHOWN:
            yield _family(metric)


def _family(metric: spec.MetricSpec) -> _Family:
    if metric.kind is spec.Kind.COUNTER:
        return CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
    return GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
