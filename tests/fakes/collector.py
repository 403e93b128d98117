"""An OpenTelemetry collector that keeps what it is sent."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest, ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse

KINDS = {
    "/v1/traces": (ExportTraceServiceRequest, ExportTraceServiceResponse),
    "/v1/metrics": (ExportMetricsServiceRequest, ExportMetricsServiceResponse),
}


class Collector(ThreadingHTTPServer):
    """Answers once it may.

    Attributes:
        spans: Each span's resource and the span, as they come.
        metrics: Each metric's resource and the metric, as they come.
        headers: Of each request.
        asked: Set by the first request.
        may_answer: Cleared, it hangs.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans = Queue()
        self.metrics = Queue()
        self.headers = Queue()
        self.asked = threading.Event()
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever asked may have left."""


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        request, answer = KINDS[self.path]
        message = request.FromString(self.rfile.read(int(self.headers["content-length"])))
        self.server.headers.put(self.headers)
        self.server.asked.set()
        self.server.may_answer.wait()
        for group in getattr(message, "resource_spans", ()):
            for scope in group.scope_spans:
                for span in scope.spans:
                    self.server.spans.put((values(group.resource.attributes), span))
        for group in getattr(message, "resource_metrics", ()):
            for scope in group.scope_metrics:
                for metric in scope.metrics:
                    self.server.metrics.put((values(group.resource.attributes), metric))
        body = answer().SerializeToString()
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def values(attributes):
    """Attributes of the wire, plain."""
    return {each.key: _value(each.value) for each in attributes}


def _value(value):
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind)


def drained(queue):
    """All that a queue holds."""
    return [queue.get_nowait() for _ in range(queue.qsize())]


@contextmanager
def collector() -> Iterator[Collector]:
    """One that runs, and that hangs no longer at the end."""
    server = Collector()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.may_answer.set()
        server.shutdown()
        thread.join()
        server.server_close()
