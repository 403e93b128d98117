"""A request as a trace: the span of its answer, and below it those of its time in the engine."""

from collections.abc import Iterator

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from omlx.record import RequestRecord
from omlx.telemetry.conventions import Attributes, is_server_fault, operation, traced

_NANO = 1_000_000_000
_W3C = TraceContextTextMapPropagator()


class Spans:
    """Makes the spans of requests to models, each once its request is over.

    Args:
        tracer: Who makes them; its sampler decides for whom.
        server: The attributes that say where the server listens.
    """

    def __init__(self, tracer: Tracer, server: Attributes) -> None:
        self._tracer = tracer
        self._server = server

    def add(self, record: RequestRecord) -> Context:
        """Make a request's spans, below the one that its `traceparent` names. Returns the context of the uppermost."""
        span = self._tracer.start_span(
            f"{operation(record)} {record.model_id}".rstrip(),
            _W3C.extract({"traceparent": record.traceparent}, Context()),
            SpanKind.SERVER,
            {**traced(record), **self._server},
            start_time=_since_1970(record, record.received),
        )
        context = set_span_in_context(span, Context())
        if span.is_recording():
            for name, start, end in _parts(record):
                self._tracer.start_span(name, context, start_time=start).end(end)
            if is_server_fault(record):
                span.set_status(StatusCode.ERROR)
            span.end(_since_1970(record, record.ended))
        return context


def _parts(record: RequestRecord) -> Iterator[tuple[str, int, int]]:
    """What the engine says that a request went through: name, start and end, the last of them at its last token.

    The engine's clock is another process', so only its differences count; none of them reaches back before the request.
    """
    if record.usage is None:
        return
    end = record.ended if record.last_token is None else record.last_token
    for name, seconds in (
        ("decode", record.usage.decode_seconds),
        ("prefill", record.usage.prefill_seconds),
        ("queue", record.usage.queue_seconds),
    ):
        start = max(end - seconds, record.received)
        yield name, _since_1970(record, start), _since_1970(record, end)
        end = start


def _since_1970(record: RequestRecord, when: float) -> int:
    """A moment of this process' clock as nanoseconds since 1970."""
    return round(record.received_at * _NANO) + round((when - record.received) * _NANO)
