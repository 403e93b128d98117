"""The server's metrics as they are counted, in a registry of their own."""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from omlx import __version__
from omlx.metrics import spec
from omlx.metrics.collector import EngineCollector, EngineStats


class Metrics:
    """Everything that is measured in this process.

    Args:
        engine_stats: Gives the engines' latest numbers, by model, when they are asked for.
    """

    def __init__(self, engine_stats: EngineStats) -> None:
        self._registry = CollectorRegistry()
        self.http_requests = self._counter(spec.HTTP_REQUESTS)
        self.http_in_flight = self._gauge(spec.HTTP_IN_FLIGHT)
        self.http_seconds = self._histogram(spec.HTTP_SECONDS)
        self.request_success = self._counter(spec.REQUEST_SUCCESS)
        self.prompt_tokens = self._counter(spec.PROMPT_TOKENS)
        self.generation_tokens = self._counter(spec.GENERATION_TOKENS)
        self.time_to_first_token = self._histogram(spec.TIME_TO_FIRST_TOKEN)
        self.e2e_latency = self._histogram(spec.E2E_LATENCY)
        self.event_loop_tasks = self._gauge(spec.EVENT_LOOP_TASKS)
        self._gauge(spec.BUILD_INFO).labels(__version__).set(1)
        self._registry.register(EngineCollector(engine_stats))
        ProcessCollector(registry=self._registry)

    def exposition(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self._registry)

    def _counter(self, metric: spec.MetricSpec) -> Counter:
        return Counter(metric.name, metric.help, metric.labels, registry=self._registry)

    def _gauge(self, metric: spec.MetricSpec) -> Gauge:
        return Gauge(metric.name, metric.help, metric.labels, registry=self._registry)

    def _histogram(self, metric: spec.MetricSpec) -> Histogram:
        return Histogram(metric.name, metric.help, metric.labels, registry=self._registry, buckets=metric.buckets)


class RequestMeter:
    """Measures one generation request.

    Args:
        metrics: Where it counts.
        model_id: Who answers: a model that exists, as each makes series of its own.
        prompt_tokens: Tokens of its prompt.
        received: When it arrived, on the monotonic clock.
    """

    def __init__(self, metrics: Metrics, model_id: str, prompt_tokens: int, received: float) -> None:
        self._metrics = metrics
        self._model_id = model_id
        self._prompt_tokens = prompt_tokens
        self._received = received
        self._generated = metrics.generation_tokens.labels(model_id)
        self._has_first = False

    def add(self, tokens: int) -> None:
        """Count tokens that have come."""
        if not tokens:
            return
        self._generated.inc(tokens)
        if not self._has_first:
            self._has_first = True
            self._metrics.time_to_first_token.labels(self._model_id).observe(time.monotonic() - self._received)
            self._metrics.prompt_tokens.labels(self._model_id).inc(self._prompt_tokens)

    def finish(self, reason: str) -> None:
        """Count a request that came to its end."""
        self._metrics.request_success.labels(self._model_id, reason).inc()
        self._metrics.e2e_latency.labels(self._model_id).observe(time.monotonic() - self._received)
