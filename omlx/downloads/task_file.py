"""The file that keeps the tasks of downloads over a restart."""

import logging
from collections.abc import Iterable
from pathlib import Path

from actors.catalog.json_file import JsonFile
from omlx.downloads.task import Task

_NAME = "downloads.json"
_log = logging.getLogger(__name__)


class TaskFile:
    """One base path's tasks. One process at a time writes it.

    Args:
        base_path: The folder that it is in.
    """

    def __init__(self, base_path: Path) -> None:
        self._file = JsonFile(base_path / _NAME)

    def read(self) -> list[Task]:
        """The tasks as they were kept. A file that is broken is put aside, and a task that is, left out."""
        try:
            documents = self._file.read().get("tasks", [])
        except ValueError as error:
            aside = self._file.set_aside()
            _log.warning("the list of downloads was broken (%s); it is kept as %s", error, aside)
            return []
        tasks = []
        for document in documents if isinstance(documents, list) else []:
            try:
                tasks.append(Task.of_document(document))
            except (ValueError, TypeError, KeyError) as error:
                _log.warning("a download in %s can't be read: %r", self._file.path, error)
        return tasks

    def write(self, tasks: Iterable[Task]) -> None:
        """Keep these and no others. Raises `OSError`."""
        self._file.path.parent.mkdir(parents=True, exist_ok=True)
        self._file.write({"version": 1, "tasks": [task.document() for task in tasks]})
