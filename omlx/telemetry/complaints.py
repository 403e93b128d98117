"""What OpenTelemetry's libraries log, in the server's own log: a line a minute, however long a collector is away."""

import logging
import time
from collections.abc import Callable

LIBRARIES = "opentelemetry"
_EVERY_SECONDS = 60.0
_log = logging.getLogger(__name__)


class Complaints(logging.Handler):
    """Takes all log lines of the libraries from when it is made, and passes one a minute on until it is muted.

    Args:
        endpoint: What the lines are about.
        now: The clock, in seconds.
    """

    def __init__(self, endpoint: str, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__(logging.WARNING)
        self._endpoint = endpoint
        self._now = now
        self._quiet_until = 0.0
        libraries = logging.getLogger(LIBRARIES)
        libraries.addHandler(self)
        libraries.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a line on, or leave it out."""
        if self._now() >= self._quiet_until:
            self._quiet_until = self._now() + _EVERY_SECONDS
            _log.warning("OpenTelemetry at %s: %s", self._endpoint, record.getMessage())

    def mute(self) -> None:
        """From now on, leave every line out."""
        self._quiet_until = float("inf")
