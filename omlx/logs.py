"""The server's own log lines: on standard error, and in a file."""

import logging

from actors.log_lines import line_format
from actors.logs import LogConfig
from omlx.request_log import RequestIds


def configure_logging(level: str, log_format: str = "text") -> None:
    """One line an event, for the server's loggers and uvicorn's; other libraries' from warnings up."""
    handler = logging.StreamHandler()
    handler.setFormatter(line_format(log_format, "%H:%M:%S"))
    handler.addFilter(RequestIds())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in ("omlx", "actors", "uvicorn.error"):
        logging.getLogger(name).setLevel(level.upper())
    logging.captureWarnings(log_format == "json")  # Python's own would be lines that are no JSON


def keep_lines(logs: LogConfig, who: str) -> None:
    """Write the same lines to a file too, from now on."""
    logs.add_file(who, RequestIds())
