"""Reads the engines' latest numbers when Prometheus asks for them."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from omlx.metrics import spec
from scheduler.stats import SchedulerStats

EngineStats = Callable[[], Mapping[str, SchedulerStats]]


class EngineCollector(Collector):
    """The engines' queues; an engine that is gone has no series any more."""

    def __init__(self, engine_stats: EngineStats) -> None:
        self._engine_stats = engine_stats

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges as they are now."""
        running = _family(spec.REQUESTS_RUNNING)
        waiting = _family(spec.REQUESTS_WAITING)
        for model_id, stats in self._engine_stats().items():
            running.add_metric([model_id], stats.running)
            waiting.add_metric([model_id], stats.waiting)
        yield running
        yield waiting

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """The gauges' names, without asking anybody."""
        yield _family(spec.REQUESTS_RUNNING)
        yield _family(spec.REQUESTS_WAITING)


def _family(metric: spec.MetricSpec) -> GaugeMetricFamily:
    return GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
