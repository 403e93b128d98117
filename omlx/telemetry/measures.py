"""The histograms that OpenTelemetry's conventions ask of a server of generative AI."""

from opentelemetry.context import Context
from opentelemetry.metrics import Histogram, Meter

from omlx.record import RequestRecord
from omlx.telemetry.conventions import Attributes, error_type, failed, measured

# Upper bounds of buckets, in seconds, as the conventions advise them.
DURATION = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
FIRST_TOKEN = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
OUTPUT_TOKEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)


class Measures:
    """Measures requests to models. A failed one has its duration taken, and no time of its tokens.

    Args:
        meter: Whose instruments these are.
        server: The attributes that say where the server listens.
    """

    def __init__(self, meter: Meter, server: Attributes) -> None:
        self._server = server
        self._duration = _seconds(meter, "request.duration", "From a request's headers to the end of its answer.", DURATION)
        self._first_token = _seconds(meter, "time_to_first_token", "From a request's headers to its first token.", FIRST_TOKEN)
        self._output_token = _seconds(
            meter, "time_per_output_token", "From one token to the next, on average of a request.", OUTPUT_TOKEN
        )

    def add(self, record: RequestRecord, context: Context) -> None:
        """Measure a request that is over; its trace, if it has one, is the example of its buckets."""
        attributes = {**measured(record), **self._server}
        self._duration.record(record.seconds, {**attributes, **failed(record)}, context)
        if error_type(record):
            return
        if record.seconds_to_first_token is not None:
            self._first_token.record(record.seconds_to_first_token, attributes, context)
        if record.seconds_per_output_token is not None:
            self._output_token.record(record.seconds_per_output_token, attributes, context)


def _seconds(meter: Meter, name: str, description: str, bounds: tuple[float, ...]) -> Histogram:
    return meter.create_histogram(f"gen_ai.server.{name}", "s", description, explicit_bucket_boundaries_advisory=bounds)
