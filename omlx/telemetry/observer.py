"""Who tells OpenTelemetry of the requests to models."""

from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from omlx import __version__
from omlx.record import RequestRecord
from omlx.telemetry.conventions import Attributes
from omlx.telemetry.measures import Measures
from omlx.telemetry.spans import Spans


class TelemetryObserver:
    """Makes a trace and measures of each request to a model that is over; see `omlx.record.RequestObserver`.

    Args:
        traces: Where the traces go.
        metrics: Where the measures go.
        server: The attributes that say where the server listens.
    """

    def __init__(self, traces: TracerProvider, metrics: MeterProvider, server: Attributes) -> None:
        self._spans = Spans(traces.get_tracer("omlx", __version__), server)
        self._measures = Measures(metrics.get_meter("omlx", __version__), server)

    def began(self, record: RequestRecord) -> None:
        """Nothing: a span may say afterwards when it began."""

    def ended(self, record: RequestRecord) -> None:
        """Hand a request on, if it was one to a model."""
        if record.for_model:
            self._measures.add(record, self._spans.add(record))
