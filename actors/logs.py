"""Where an actor's log lines go."""

import logging
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path

from actors.log_lines import line_format


@dataclass(frozen=True, slots=True)
class LogConfig:
    """A file for each actor, `<folder>/<who>.log`, of bounded size.

    Attributes:
        folder: Created where it is missing.
        level: `debug`, `info`, `warning` or `error`.
        format: `text` or `json`.
    """

    folder: Path
    level: str = "info"
    format: str = "text"

    def begin(self, who: str) -> None:
        """Send this process' log lines to its file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        handler = RotatingFileHandler(
            self.folder / f"{who.replace('/', '--')}.log", maxBytes=1_000_000, backupCount=2, encoding="utf-8"
        )
        handler.setFormatter(line_format(self.format))
        logging.basicConfig(level=self.level.upper(), handlers=[handler], force=True)
