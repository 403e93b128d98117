"""Traces and metrics reach a collector over HTTP, and one that is away or hangs keeps nobody waiting."""

import logging
import socket
import threading
import time

import pytest

from omlx.telemetry.conventions import server_attributes
from omlx.telemetry.export import OtlpExport
from tests.fakes.collector import collector, drained, values
from tests.fakes.records import chatted

SERVER = server_attributes("127.0.0.1", 8000)


@pytest.fixture
def nobody():
    """The address of a port that refuses."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def often(monkeypatch):
    """What there is to send is sent every millisecond."""
    for name in ("OTEL_BSP_SCHEDULE_DELAY", "OTEL_METRIC_EXPORT_INTERVAL"):
        monkeypatch.setenv(name, "1")


def ended(export):
    """How long the end took, in seconds."""
    begun = time.monotonic()
    export.end()
    export.join()
    return time.monotonic() - begun


def threads():
    """The libraries' threads that haven't ended."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("Otel")]


def await_threads():
    for thread in threads():
        thread.join(5)
    assert threads() == []


def test_what_was_told_is_sent_at_the_end_at_the_latest(caplog):
    with collector() as there:
        export = OtlpExport(f"{there.url}/", SERVER, end_seconds=10)
        export.observer.ended(chatted())
        ended(export)
    spans = {span.name: (resource, span) for resource, span in drained(there.spans)}
    assert set(spans) == {"chat tiny", "queue", "prefill", "decode"}
    resource, whole = spans["chat tiny"]
    assert resource["service.name"] == "omlx"
    assert resource["service.instance.id"]
    assert values(whole.attributes)["gen_ai.response.finish_reasons"] == ["stop"]
    assert (whole.start_time_unix_nano, whole.end_time_unix_nano) == (1_700_000_000 * 10**9, 1_700_000_004 * 10**9)
    metrics = {metric.name: metric for _, metric in drained(there.metrics)}
    assert set(metrics) == {
        f"gen_ai.server.{name}" for name in ("request.duration", "time_to_first_token", "time_per_output_token")
    }
    (point,) = metrics["gen_ai.server.request.duration"].histogram.data_points
    assert (point.count, point.sum, values(point.attributes)["gen_ai.request.model"]) == (1, 4.0, "tiny")
    assert threads() == []
    assert caplog.messages == []


def test_the_environment_says_who_speaks_and_how(monkeypatch):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "studio")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=home")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=secret")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://elsewhere.invalid")
    with collector() as there:
        export = OtlpExport(there.url, SERVER, end_seconds=10)
        export.observer.ended(chatted())
        ended(export)
    resource, _ = there.spans.get_nowait()
    assert (resource["service.name"], resource["deployment.environment.name"]) == ("studio", "home")
    assert {headers["x-key"] for headers in drained(there.headers)} == {"secret"}


@pytest.mark.parametrize(("left_out", "kept"), [("TRACES", "metrics"), ("METRICS", "spans")])
def test_traces_or_metrics_can_be_left_out(monkeypatch, left_out, kept):
    monkeypatch.setenv(f"OTEL_{left_out}_EXPORTER", "none")
    with collector() as there:
        export = OtlpExport(there.url, SERVER, end_seconds=10)
        export.observer.ended(chatted())
        ended(export)
    assert [name for name in ("spans", "metrics") if not getattr(there, name).empty()] == [kept]


def test_a_collector_that_is_away_is_said_in_one_line_and_not_waited_for(nobody, often, monkeypatch, caplog):
    said = threading.Event()
    monkeypatch.setattr(logging.getLogger("omlx.telemetry.complaints"), "filters", [lambda _: said.set() or True])
    export = OtlpExport(nobody, SERVER, end_seconds=0.1)
    export.observer.ended(chatted())
    assert said.wait(5)
    assert ended(export) < 1
    complaint, farewell = caplog.messages
    assert complaint.startswith(f"OpenTelemetry at {nobody}: ")
    assert farewell == f"OpenTelemetry at {nobody}: not everything could be sent before the end"
    await_threads()
    assert len(caplog.messages) == 2


def test_a_collector_that_hangs_is_waited_for_neither_by_requests_nor_by_the_end(often, caplog):
    with collector() as there:
        there.may_answer.clear()
        export = OtlpExport(there.url, SERVER, end_seconds=0.1)
        export.observer.ended(chatted())
        assert there.asked.wait(5)
        begun = time.monotonic()
        for _ in range(10):
            export.observer.ended(chatted())
        assert time.monotonic() - begun < 1
        assert ended(export) < 1
        assert caplog.messages == [f"OpenTelemetry at {there.url}: not everything could be sent before the end"]
        there.may_answer.set()
        await_threads()


def test_an_export_that_never_ended_has_nobody_to_wait_for(nobody):
    export = OtlpExport(nobody, SERVER)
    begun = time.monotonic()
    export.join()
    assert time.monotonic() - begun < 0.5
    ended(export)
