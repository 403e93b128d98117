"""Makes metrics of their specs, in a registry of their own, and writes them out as Prometheus asks."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from omlx.metrics.spec import MetricSpec

disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each, which nobody reads


class Registry:
    """Metrics that are counted in this process, and collectors of what others know."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)

    def counter(self, metric: MetricSpec) -> Counter:
        """A counter to count with."""
        return Counter(metric.name, metric.help, metric.labels, registry=self._registry)

    def gauge(self, metric: MetricSpec) -> Gauge:
        """A gauge to set."""
        return Gauge(metric.name, metric.help, metric.labels, registry=self._registry)

    def histogram(self, metric: MetricSpec) -> Histogram:
        """A histogram to observe with."""
        return Histogram(metric.name, metric.help, metric.labels, registry=self._registry, buckets=metric.buckets)

    def collect(self, collector: Collector) -> None:
        """Have a collector asked at every scrape, from whatever thread."""
        self._registry.register(collector)

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """Everything, in OpenMetrics where the `Accept` header asks for it, else in Prometheus' text format; and its content type.

        Any thread may ask.
        """
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type


def gauge_family(metric: MetricSpec) -> GaugeMetricFamily:
    """An empty family of a gauge that a collector fills."""
    return GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
