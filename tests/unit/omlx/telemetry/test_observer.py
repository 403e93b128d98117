"""What OpenTelemetry is told of a request: histograms, and a trace whose spans have the engine's lengths."""

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from actors.contracts import Usage
from omlx.telemetry.conventions import server_attributes
from omlx.telemetry.measures import DURATION, FIRST_TOKEN, OUTPUT_TOKEN
from omlx.telemetry.observer import TelemetryObserver
from tests.fakes.records import chatted, refused

BEGIN = 1_700_000_000 * 10**9
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class World:
    """An observer, and what came of what it was told."""

    def __init__(self):
        self.spans = InMemorySpanExporter()
        self.reader = InMemoryMetricReader()
        traces = TracerProvider(shutdown_on_exit=False)
        traces.add_span_processor(SimpleSpanProcessor(self.spans))
        metrics = MeterProvider([self.reader], shutdown_on_exit=False)
        self.observer = TelemetryObserver(traces, metrics, server_attributes("127.0.0.1", 8000))

    def tell(self, *records):
        """Returns the spans by name."""
        for record in records:
            self.observer.began(record)
            self.observer.ended(record)
        return {span.name: span for span in self.spans.get_finished_spans()}

    def points(self):
        """Each metric's points, by its name."""
        data = self.reader.get_metrics_data()
        groups = data.resource_metrics if data is not None else ()
        return {
            metric.name: metric.data.data_points for group in groups for scope in group.scope_metrics for metric in scope.metrics
        }

    def units(self):
        groups = self.reader.get_metrics_data().resource_metrics
        return {metric.unit for group in groups for scope in group.scope_metrics for metric in scope.metrics}


@pytest.fixture
def world():
    return World()


def seconds(span):
    return (span.start_time - BEGIN) / 1e9, (span.end_time - BEGIN) / 1e9


def test_a_request_is_a_server_span_with_its_parts_below(world):
    spans = world.tell(chatted())
    assert {name: seconds(span) for name, span in spans.items()} == {
        "chat tiny": (0.0, 4.0),
        "queue": (0.75, 1.0),
        "prefill": (1.0, 1.5),
        "decode": (1.5, 3.5),
    }
    whole = spans.pop("chat tiny")
    assert whole.kind is SpanKind.SERVER
    assert whole.parent is None
    assert whole.status.status_code is StatusCode.UNSET
    assert whole.attributes["server.port"] == 8000
    assert whole.attributes["gen_ai.usage.output_tokens"] == 5
    for part in spans.values():
        assert part.kind is SpanKind.INTERNAL
        assert part.parent.span_id == whole.context.span_id
        assert part.context.trace_id == whole.context.trace_id


def test_parts_never_begin_before_their_request(world):
    spans = world.tell(chatted(usage=Usage(12, 5, queue_seconds=9.0, prefill_seconds=1.5, decode_seconds=2.0)))
    assert seconds(spans["queue"]) == (0.0, 0.0)
    assert seconds(spans["prefill"]) == (0.0, 1.5)


def test_a_request_that_did_not_come_to_its_end_has_no_parts(world):
    assert set(world.tell(chatted(usage=None, finish_reason="abort"))) == {"chat tiny"}


def test_a_request_without_a_model_is_called_by_what_was_asked(world):
    assert set(world.tell(refused(404, "model_not_found", model_id=""))) == {"chat"}


def test_the_caller_s_trace_goes_on(world):
    spans = world.tell(chatted(traceparent=f"00-{TRACE}-{PARENT}-01"))
    whole = spans["chat tiny"]
    assert f"{whole.context.trace_id:032x}" == TRACE
    assert f"{whole.parent.span_id:016x}" == PARENT
    assert whole.parent.is_remote
    assert f"{spans['decode'].context.trace_id:032x}" == TRACE


def test_a_trace_that_its_caller_does_not_sample_has_no_spans_but_is_measured(world):
    assert world.tell(chatted(traceparent=f"00-{TRACE}-{PARENT}-00")) == {}
    assert world.points()["gen_ai.server.request.duration"][0].count == 1


@pytest.mark.parametrize("header", ["", "nonsense", f"00-{'0' * 32}-{PARENT}-01", f"ff-{TRACE}-{PARENT}-01", "0" * 600])
def test_without_a_sane_parent_each_trace_is_new(world, header):
    world.tell(chatted(traceparent=header), chatted(traceparent=header))
    whole = [span for span in world.spans.get_finished_spans() if span.kind is SpanKind.SERVER]
    assert all(span.parent is None for span in whole)
    assert len({span.context.trace_id for span in whole}) == 2


@pytest.mark.parametrize(
    ("record", "status"),
    [
        (refused(400, "invalid_value"), StatusCode.UNSET),
        (chatted(finish_reason="abort", usage=None), StatusCode.UNSET),
        (refused(503, "engine_died"), StatusCode.ERROR),
        (chatted(finish_reason="error", error="engine_died", usage=None), StatusCode.ERROR),
    ],
)
def test_only_the_server_s_own_failures_are_errors_of_its_span(world, record, status):
    span = world.tell(record)["chat tiny"]
    assert span.status.status_code is status
    assert "error.type" in span.attributes


def test_requests_for_anything_but_text_leave_nothing(world):
    assert world.tell(chatted(for_model=False, is_generation=False, endpoint="/health")) == {}
    assert world.points() == {}


def test_histograms_have_the_names_units_and_bounds_of_the_conventions(world):
    world.tell(chatted())
    bounds = {name: points[0].explicit_bounds for name, points in world.points().items()}
    assert bounds == {
        "gen_ai.server.request.duration": DURATION,
        "gen_ai.server.time_to_first_token": FIRST_TOKEN,
        "gen_ai.server.time_per_output_token": OUTPUT_TOKEN,
    }
    assert world.units() == {"s"}


def test_a_request_s_times_are_measured(world):
    world.tell(chatted(), chatted(ended=106.0, first_token=None, last_token=None), chatted(completion_tokens=1))
    sums = {name: (point.count, point.sum) for name, (point,) in world.points().items()}
    assert sums == {
        "gen_ai.server.request.duration": (3, 14.0),
        "gen_ai.server.time_to_first_token": (2, 3.0),
        "gen_ai.server.time_per_output_token": (1, 0.5),
    }


def test_series_differ_by_operation_and_model(world):
    world.tell(chatted(), chatted(endpoint="/v1/completions"), chatted(model_id="other"))
    points = world.points()["gen_ai.server.time_to_first_token"]
    assert [dict(point.attributes) for point in points] == [
        {
            "gen_ai.operation.name": name,
            "gen_ai.provider.name": "omlx",
            "gen_ai.request.model": model,
            "gen_ai.response.model": model,
            "server.address": "127.0.0.1",
            "server.port": 8000,
        }
        for name, model in (("chat", "tiny"), ("text_completion", "tiny"), ("chat", "other"))
    ]


@pytest.mark.parametrize("record", [refused(503, "engine_died"), chatted(finish_reason="error", error="engine_died")])
def test_a_failed_request_has_its_duration_taken_with_its_reason_and_nothing_else(world, record):
    world.tell(record)
    points = world.points()
    assert set(points) == {"gen_ai.server.request.duration"}
    assert points["gen_ai.server.request.duration"][0].attributes["error.type"] == "engine_died"


def test_a_bucket_s_example_is_the_request_s_trace(world):
    span = world.tell(chatted())["chat tiny"]
    (example,) = world.points()["gen_ai.server.time_to_first_token"][0].exemplars
    assert (example.trace_id, example.span_id) == (span.context.trace_id, span.context.span_id)
