"""Why something can't be measured, or isn't there, as one tree.

OmlxError
├── SizeError                 a size of prompts and batch can't be measured; others can
└── RequestError              what HTTP is told
    ├── BenchmarkRunningError   one is measured at a time
    └── UnknownRunError         there is no such run
"""

from http import HTTPStatus

from actors.errors import OmlxError
from omlx.api.errors import RequestError


class SizeError(OmlxError):
    """A size can't be measured with this model and these settings."""


class BenchmarkRunningError(RequestError):
    """Two measurements would measure each other."""

    def __init__(self) -> None:
        super().__init__(
            "A benchmark is running. Wait for its end, or cancel it.", code="benchmark_running", status=HTTPStatus.CONFLICT
        )


class UnknownRunError(RequestError):
    """No run has this id."""

    def __init__(self, run_id: str) -> None:
        super().__init__(
            f"There is no run {run_id[:60]!a} of a benchmark.", code="benchmark_not_found", status=HTTPStatus.NOT_FOUND
        )
