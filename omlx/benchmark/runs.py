"""The folder that keeps the runs of benchmarks: a file each, whole or not at all."""

import logging
import re
import secrets
from datetime import UTC, datetime
from pathlib import Path

from actors.catalog.json_file import JsonFile
from omlx.benchmark.run import Run

MOST = 100
_ID = re.compile(r"[0-9]{8}T[0-9]{6}-[0-9a-f]{6}")  # and nothing else becomes a path
_log = logging.getLogger(__name__)


def new_id(now: float) -> str:
    """A name for a run that begins now, Unix seconds. Names are in the order of time."""
    return f"{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


class Runs:
    """One base path's runs. One process at a time uses it; every method may block.

    Args:
        folder: Where they are; made when there is one to keep.
        most: How many are kept; then the oldest go.
    """

    def __init__(self, folder: Path, most: int = MOST) -> None:
        self._folder = folder
        self._most = most

    def read(self) -> dict[str, Run]:
        """Every run by its id, the newest first. A file that can't be read is left as it is, and said."""
        found = {}
        for file in sorted(self._files(), reverse=True):
            try:
                run = Run.of_document(JsonFile(file).read())
                if run.run_id != file.stem:
                    raise ValueError("it is another run's")
            except (OSError, ValueError, TypeError, KeyError) as error:
                _log.warning("the benchmark in %s can't be read: %r", file, error)
                continue
            found[run.run_id] = run
        return found

    def keep(self, run: Run) -> None:
        """Keep one that has ended. Raises `OSError`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        JsonFile(self._file(run.run_id)).write(run.document())
        for file in sorted(self._files())[: -self._most]:
            file.unlink(missing_ok=True)

    def remove(self, run_id: str) -> None:
        """Delete one, if it is there. Raises `OSError`, and `ValueError` for an id that none could have."""
        self._file(run_id).unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        return [file for file in self._folder.glob("*.json") if _ID.fullmatch(file.stem)]

    def _file(self, run_id: str) -> Path:
        if not _ID.fullmatch(run_id):
            raise ValueError(f"{run_id!a} is no id of a run")
        return self._folder / f"{run_id}.json"
