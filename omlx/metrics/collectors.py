"""Reads what engines and the catalog said last, when Prometheus asks for it."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from actors.control import CatalogStatus
from omlx.metrics import spec
from omlx.metrics.registry import gauge_family
from scheduler.stats import SchedulerStats

EngineStats = Callable[[], Mapping[str, SchedulerStats]]
_Values = Iterator[tuple[tuple[str, ...], float]]


class EngineCollector(Collector):
    """The engines' queues and caches; an engine that is gone has no series any more.

    Args:
        engine_stats: Gives their latest numbers, by model.
    """

    def __init__(self, engine_stats: EngineStats) -> None:
        self._engine_stats = engine_stats

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The numbers as they are now."""
        engines = self._engine_stats()
        for metric, read in _ENGINE.items():
            yield _filled(metric, ((labels, value) for name, stats in engines.items() for labels, value in read(name, stats)))

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """The metrics' names, without asking anybody."""
        return map(gauge_family, _ENGINE)


class CatalogCollector(Collector):
    """Models and memory.

    Attributes:
        status: What the catalog said for this scrape; None if it didn't answer.
    """

    def __init__(self) -> None:
        self.status: CatalogStatus | None = None

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The numbers of `status`."""
        status = self.status
        yield _filled(spec.CATALOG_UP, iter([((), float(status is not None))]))
        if status is not None:
            for metric, read in _CATALOG.items():
                yield _filled(metric, read(status))

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """The metrics' names."""
        return map(gauge_family, (spec.CATALOG_UP, *_CATALOG))


def _filled(metric: spec.MetricSpec, values: _Values) -> GaugeMetricFamily:
    family = gauge_family(metric)
    for labels, value in values:
        family.add_metric(labels, value)
    return family


def _one(attribute: str) -> Callable[[str, SchedulerStats], _Values]:
    return lambda name, stats: iter([((name,), getattr(stats, attribute))])


def _kv_usage(name: str, stats: SchedulerStats) -> _Values:
    yield (name,), stats.kv_bytes / stats.kv_budget if stats.kv_budget else 0.0


def _kv_bytes(name: str, stats: SchedulerStats) -> _Values:
    yield (name, "running"), stats.kv_bytes
    yield (name, "prefix"), stats.prefix_bytes


_ENGINE: Mapping[spec.MetricSpec, Callable[[str, SchedulerStats], _Values]] = {
    spec.REQUESTS_RUNNING: _one("running"),
    spec.REQUESTS_WAITING: _one("waiting"),
    spec.KV_USAGE: _kv_usage,
    spec.KV_BYTES: _kv_bytes,
    spec.KV_BUDGET: _one("kv_budget"),
}


def _total(read: Callable[[CatalogStatus], float]) -> Callable[[CatalogStatus], _Values]:
    return lambda status: iter([((), read(status))])


def _ready(status: CatalogStatus) -> dict[str, int]:
    """How many engines serve each loaded model."""
    counts = {each.served.model_id: sum(engine.state == "ready" for engine in each.engines) for each in status.models}
    return {model_id: count for model_id, count in counts.items() if count}


def _engines_ready(status: CatalogStatus) -> _Values:
    for model_id, count in _ready(status).items():
        yield (model_id,), count


def _model_memory(status: CatalogStatus) -> _Values:
    for each in status.models:
        if each.memory_bytes:
            yield (each.served.model_id,), each.memory_bytes


_CATALOG: Mapping[spec.MetricSpec, Callable[[CatalogStatus], _Values]] = {
    spec.MODELS_FOUND: _total(lambda status: len(status.models)),
    spec.MODELS_SKIPPED: _total(lambda status: len(status.skipped)),
    spec.MODELS_LOADED: _total(lambda status: len(_ready(status))),
    spec.ENGINES_READY: _engines_ready,
    spec.MODEL_MEMORY: _model_memory,
    spec.MEMORY_USED: _total(lambda status: status.memory.used),
    spec.MEMORY_RESERVED: _total(lambda status: status.memory.reserved),
    spec.MEMORY_BUDGET: _total(lambda status: status.memory.budget),
}
