"""Where an actor's log lines go."""

import logging
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path


@dataclass(frozen=True, slots=True)
class LogConfig:
    """A file for each actor, `<folder>/<who>.log`, of bounded size.

    Attributes:
        folder: Created where it is missing.
        level: `debug`, `info`, `warning` or `error`.
    """

    folder: Path
    level: str = "info"

    def begin(self, who: str) -> None:
        """Send this process' log lines to its file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        handler = RotatingFileHandler(
            self.folder / f"{who.replace('/', '--')}.log", maxBytes=1_000_000, backupCount=2, encoding="utf-8"
        )
        logging.basicConfig(
            level=self.level.upper(), format="%(asctime)s %(levelname)s %(message)s", handlers=[handler], force=True
        )
