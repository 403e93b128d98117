"""Measures requests: every one when it is over, and those to models while they are answered."""

import asyncio
import time
from types import TracebackType
from typing import Self

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from actors.contracts import Delta
from omlx.metrics import spec
from omlx.metrics.rate import Rate
from omlx.metrics.registry import Registry, gauge_family
from omlx.record import RequestRecord

_ABORT, _ERROR = "abort", "error"
_SUCCESS = ("stop", "length", "tool_calls")


class RequestMetrics(Collector):
    """See `omlx.record.RequestObserver`. Models that don't exist make no series: their requests have no `model_id`."""

    def __init__(self, registry: Registry) -> None:
        self._http_requests = registry.counter(spec.HTTP_REQUESTS)
        self._http_in_flight = registry.gauge(spec.HTTP_IN_FLIGHT)
        self._http_seconds = registry.histogram(spec.HTTP_SECONDS)
        self._requests = registry.counter(spec.REQUESTS)
        self._success = registry.counter(spec.REQUEST_SUCCESS)
        self._aborted = registry.counter(spec.REQUESTS_ABORTED)
        self._rejected = registry.counter(spec.REQUESTS_REJECTED)
        self._cached_tokens = registry.counter(spec.CACHED_TOKENS)
        self._per_output_token = registry.histogram(spec.TIME_PER_OUTPUT_TOKEN)
        self._e2e = registry.histogram(spec.E2E_LATENCY)
        self._queue = registry.histogram(spec.QUEUE_TIME)
        self._prefill = registry.histogram(spec.PREFILL_TIME)
        self._decode = registry.histogram(spec.DECODE_TIME)
        self._inference = registry.histogram(spec.INFERENCE_TIME)
        self._prompt_lengths = registry.histogram(spec.REQUEST_PROMPT_TOKENS)
        self._answer_lengths = registry.histogram(spec.REQUEST_GENERATION_TOKENS)
        self.prompt_tokens = registry.counter(spec.PROMPT_TOKENS)
        self.generation_tokens = registry.counter(spec.GENERATION_TOKENS)
        self.time_to_first_token = registry.histogram(spec.TIME_TO_FIRST_TOKEN)
        self.inter_token_latency = registry.histogram(spec.INTER_TOKEN_LATENCY)
        self.latest_first_token: dict[str, float] = {}  # seconds to it, of each model's latest request that has one
        self._rates: dict[str, Rate] = {}
        registry.collect(self)

    def metering(self, record: RequestRecord) -> "RequestMeter":
        """Measures a request for text while it is answered; its record knows the model."""
        return RequestMeter(self, record)

    def reading(self, record: RequestRecord) -> "ReadingMeter":
        """The same for a request whose answer is not text."""
        return ReadingMeter(self, record)

    def rate(self, model_id: str) -> Rate:
        """A model's tokens as they come."""
        return self._rates.setdefault(model_id, Rate())

    def expect(self, model_id: str) -> None:
        """Have a model's counters begin at 0, so that the first thing that they count shows as a rise."""
        for counter in (self._aborted, self.prompt_tokens, self.generation_tokens, self._cached_tokens):
            counter.labels(model_id)
        for reason in _SUCCESS:
            self._success.labels(model_id, reason)

    def began(self, _record: RequestRecord) -> None:
        """Count a request that is being answered."""
        self._http_in_flight.inc()

    def ended(self, record: RequestRecord) -> None:
        """Count a request that is over."""
        self._http_in_flight.dec()
        status = str(record.status or "aborted")
        self._http_requests.labels(record.endpoint, record.method, status).inc()
        self._http_seconds.labels(record.endpoint, record.method).observe(record.seconds)
        if not record.for_model:
            return
        self._requests.labels(record.model_id, record.endpoint, status, record.finish_reason).inc()
        if record.finish_reason in _SUCCESS:
            self._succeeded(record)
        elif record.finish_reason == _ABORT:
            self._aborted.labels(record.model_id).inc()
        elif record.error and record.first_token is None:
            self._rejected.labels(record.model_id, record.error).inc()

    def collect(self) -> list[GaugeMetricFamily]:
        """The rates as they are now."""
        family = gauge_family(spec.TOKENS_PER_SECOND)
        for model_id, rate in sorted(self._rates.copy().items()):
            family.add_metric([model_id], rate.per_second())
        return [family]

    def describe(self) -> list[GaugeMetricFamily]:
        """Their name."""
        return [gauge_family(spec.TOKENS_PER_SECOND)]

    def _succeeded(self, record: RequestRecord) -> None:
        model_id, usage = record.model_id, record.usage
        self._success.labels(model_id, record.finish_reason).inc()
        self._prompt_lengths.labels(model_id).observe(record.prompt_tokens)
        if usage is None:  # vectors or scores
            self._e2e.labels(model_id).observe(record.seconds)
            return
        self._cached_tokens.labels(model_id).inc(usage.cached_tokens)
        if record.seconds_to_last_token is not None:
            self._e2e.labels(model_id).observe(record.seconds_to_last_token)
        if record.seconds_per_output_token is not None:
            self._per_output_token.labels(model_id).observe(record.seconds_per_output_token)
        self._queue.labels(model_id).observe(usage.queue_seconds)
        self._prefill.labels(model_id).observe(usage.prefill_seconds)
        self._decode.labels(model_id).observe(usage.decode_seconds)
        self._inference.labels(model_id).observe(usage.prefill_seconds + usage.decode_seconds)
        self._answer_lengths.labels(model_id).observe(usage.completion_tokens)


class _Meter:
    """Measures one request to a model while it is answered, and notes in its record how that goes. Use it as a context."""

    def __init__(self, metrics: RequestMetrics, record: RequestRecord) -> None:
        self._metrics, self._record = metrics, record

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None) -> None:
        """Note why it ended, unless that is known: a generator that is closed and a task that is cancelled have lost their client."""
        if kind is None or self._record.finish_reason:
            return
        if issubclass(kind, GeneratorExit | asyncio.CancelledError):
            self._record.finish_reason = _ABORT
        elif self._record.first_token is not None:
            self._record.finish_reason = _ERROR


class ReadingMeter(_Meter):
    """Measures one whose answer comes at once: vectors or scores."""

    def done(self, prompt_tokens: int) -> None:
        """The answer is there, made of so many tokens."""
        self._record.prompt_tokens = prompt_tokens
        self._record.finish_reason = "stop"
        self._metrics.prompt_tokens.labels(self._record.model_id).inc(prompt_tokens)


class RequestMeter(_Meter):
    """Measures one for text, as its tokens come."""

    def __init__(self, metrics: RequestMetrics, record: RequestRecord) -> None:
        super().__init__(metrics, record)
        self._generated = metrics.generation_tokens.labels(record.model_id)
        self._gaps = metrics.inter_token_latency.labels(record.model_id)
        self._rate = metrics.rate(record.model_id)
        self._latest: dict[int, float] = {}  # when each choice's last token came

    def taken(self, prompt_tokens: int) -> None:
        """The engine has taken the request."""
        self._record.prompt_tokens = prompt_tokens

    def add(self, delta: Delta) -> None:
        """Measure what came."""
        if delta.tokens:
            self._add_tokens(delta.index, delta.tokens)
        if delta.usage is not None:
            self._record.usage = delta.usage
            self._record.finish_reason = delta.finish_reason or ""

    def _add_tokens(self, choice: int, tokens: int) -> None:
        now, record = time.monotonic(), self._record
        self._generated.inc(tokens)
        self._rate.add(tokens)
        record.completion_tokens += tokens
        record.last_token = now
        if record.first_token is None:
            record.first_token = now
            self._metrics.time_to_first_token.labels(record.model_id).observe(now - record.received)
            self._metrics.latest_first_token[record.model_id] = now - record.received
            self._metrics.prompt_tokens.labels(record.model_id).inc(record.prompt_tokens)
        before = self._latest.get(choice)
        self._latest[choice] = now
        if before is not None:
            for _ in range(tokens):
                self._gaps.observe((now - before) / tokens)
