"""Where the log lines of a process are kept."""

import logging
import sys
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path

from actors.log_lines import line_format

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LogConfig:
    """A file for each process, `<folder>/<who>.log`, of bounded size.

    Attributes:
        folder: Created where it is missing.
        level: `debug`, `info`, `warning` or `error`.
        format: `text` or `json`.
    """

    folder: Path
    level: str = "info"
    format: str = "text"

    def begin(self, who: str) -> None:
        """Send this process' log lines to its file; to standard error where there can be none."""
        console = logging.StreamHandler()
        console.setFormatter(line_format(self.format))
        logging.basicConfig(level=self.level.upper(), handlers=[console], force=True)
        if self.add_file(who):
            logging.getLogger().removeHandler(console)

    def add_file(self, who: str, *filters: logging.Filter) -> bool:
        """Send this process' log lines to its file too, through filters; whether that is possible. It is said where it isn't."""
        file = self.folder / f"{who.replace('/', '--')}.log"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handler = _File(file, maxBytes=1_000_000, backupCount=2, encoding="utf-8")
        except OSError as error:
            _log.warning("no log lines are kept, as %s can't be written: %s", file, error.strerror or error)
            return False
        handler.setFormatter(line_format(self.format))
        for each in filters:
            handler.addFilter(each)
        logging.getLogger().addHandler(handler)
        return True


class _File(RotatingFileHandler):
    """Says once that it can't be written any more, as on a disk that is full, and keeps nobody from working."""

    _has_failed = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - as logging has it
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self._has_failed:
            self._has_failed = True
            _log.warning("log lines are lost, as %s can't be written: %s", self.baseFilename, error.strerror or error)
