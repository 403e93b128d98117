"""The server's own log lines on standard error."""

import logging


def configure_logging(level: str) -> None:
    """One line an event, for the server's loggers and uvicorn's; other libraries' from warnings up."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S", force=True)
    for name in ("omlx", "actors", "uvicorn.error"):
        logging.getLogger(name).setLevel(level.upper())
