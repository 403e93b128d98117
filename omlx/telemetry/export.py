"""How traces and metrics get to an OpenTelemetry collector, and how that ends without ever holding the server up."""

import logging
import os
import time
from threading import Thread

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from omlx import __version__
from omlx.telemetry.complaints import Complaints
from omlx.telemetry.conventions import Attributes
from omlx.telemetry.observer import TelemetryObserver

_log = logging.getLogger(__name__)


class OtlpExport:
    """Sends by OTLP over HTTP, in threads of its own, from when it is made.

    The environment variables that OpenTelemetry specifies hold for the rest: headers, certificates, timeouts, intervals, the
    sampler, the service's name.

    Args:
        endpoint: The collector's URL, to which `/v1/traces` and `/v1/metrics` are added.
        server: The attributes that say where the server listens.
        end_seconds: How long what is left may take to be sent.

    Raises `ValueError` for what the environment says and can't be.
    """

    def __init__(self, endpoint: str, server: Attributes, end_seconds: float = 1.0) -> None:
        base = endpoint.rstrip("/")
        self._endpoint = endpoint
        self._end_seconds = end_seconds
        self._complaints = Complaints(endpoint)
        self._exporters: list[OTLPSpanExporter | OTLPMetricExporter] = []
        resource = _resource()
        self._traces = TracerProvider(resource=resource, shutdown_on_exit=False)
        if _is_wanted("TRACES"):
            spans = OTLPSpanExporter(f"{base}/v1/traces")
            self._exporters.append(spans)
            self._traces.add_span_processor(BatchSpanProcessor(spans))
        readers = []
        if _is_wanted("METRICS"):
            metrics = OTLPMetricExporter(f"{base}/v1/metrics")
            self._exporters.append(metrics)
            readers.append(PeriodicExportingMetricReader(metrics))
        self._metrics = MeterProvider(readers, resource, shutdown_on_exit=False)
        self._ending: list[Thread] = []
        self._deadline = 0.0
        self.observer = TelemetryObserver(self._traces, self._metrics, server)

    def end(self) -> None:
        """Begin to send what is left, and return at once."""
        self._deadline = time.monotonic() + self._end_seconds
        # The traces' takes no time limit, and waits for a collector that hangs.
        self._ending = [
            Thread(target=provider.shutdown, name="OtelEnd", daemon=True) for provider in (self._traces, self._metrics)
        ]
        for thread in self._ending:
            thread.start()

    def join(self) -> None:
        """Wait until it is sent, or its time is over; what isn't sent by then is lost."""
        for thread in self._ending:
            thread.join(max(0.0, self._deadline - time.monotonic()))
        if any(thread.is_alive() for thread in self._ending):
            _log.warning("OpenTelemetry at %s: not everything could be sent before the end", self._endpoint)
            self._complaints.mute()
            for exporter in self._exporters:
                exporter.shutdown()  # no more attempts


def _is_wanted(signal: str) -> bool:
    """Whether the environment has one of the two, traces or metrics, sent."""
    return os.environ.get(f"OTEL_{signal}_EXPORTER", "").strip().lower() != "none"


def _resource() -> Resource:
    """Who is speaking: `omlx`, if the environment says nothing else."""
    return Resource.create({"service.name": "omlx", "service.version": __version__, **OTELResourceDetector().detect().attributes})
