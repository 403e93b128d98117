"""The process that downloads for a server: commands on standard input, answers and news on standard output, a JSON object a line.

in   {"base_path": …, "given": {…}, "log_level": …, "log_format": …}                first, once
     {"id": 7, "call": "add", "arguments": {…}}
     {"answering": true}                                                                 whether a model answers now
out  {"id": 7, "result": …}    {"id": 7, "error": {"type": "OccupiedError", "message": …}}
     {"tasks": […]}                                                                      at first, and after changes

It ends with its input, with what has come kept.
"""

import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from omlx.downloads.download_queue import DownloadQueue
from omlx.downloads.errors import DownloadError, TransientError
from omlx.downloads.fetching import SettingsFetching
from omlx.downloads.source import Sort
from omlx.downloads.task import Task, Wish
from omlx.downloads.task_file import TaskFile

_CALLS_AT_ONCE = 8  # searches wait for the line
_NEWS_SECONDS = 0.25  # between two lists of tasks
_NICENESS = 19  # models that answer come first
_log = logging.getLogger(__name__)


class Worker:
    """Answers commands.

    Args:
        downloads: What is fetched.
        fetching: The places.
        say: Called with each object to be written; from several threads.
    """

    def __init__(self, downloads: DownloadQueue, fetching: SettingsFetching, say: Callable[[Mapping[str, Any]], None]) -> None:
        self._downloads = downloads
        self._fetching = fetching
        self._say = say
        self._calls: dict[str, Callable[..., Any]] = {
            "search": self._search,
            "card": self._card,
            "add": self._add,
            **{name: self._changing(getattr(downloads, name)) for name in ("pause", "cancel", "retry", "forget")},
        }

    def answer(self, request: Mapping[str, Any]) -> None:
        """Do what a command asks and say what came of it."""
        try:
            self._say({"id": request["id"], "result": self._calls[request["call"]](**request["arguments"])})
        except (DownloadError, TransientError) as error:
            self._say({"id": request["id"], "error": {"type": type(error).__name__, "message": str(error)}})
        except Exception as error:
            _log.exception("a call of the downloads failed")
            self._say(
                {"id": request["id"], "error": {"type": "", "message": f"It failed in a way that nothing foresaw: {error!r}."}}
            )

    def tell(self) -> None:
        """Say what the tasks are."""
        self._say({"tasks": [task.document() for task in self._downloads.tasks()]})

    def _search(self, source: str, words: str, sort: str, limit: int, *, only_mlx: bool) -> dict[str, Any]:
        place = self._fetching.source(source)
        found = place.search(words, sort=Sort(sort), limit=limit, only_mlx=only_mlx)
        return {"endpoint": place.endpoint, "models": [asdict(each) for each in found]}

    def _card(self, source: str, name: str, revision: str | None) -> dict[str, Any]:
        card = self._fetching.source(source).card(name, revision)
        values = asdict(card)
        fetched = frozenset(values.pop("fetched"))
        files = [{"path": file.path, "size": file.size, "is_fetched": file.path in fetched} for file in card.files]
        return {**values.pop("found"), **values, "files": files}

    def _add(self, *, allow: list[str], ignore: list[str], **wish: Any) -> dict[str, Any]:
        task = self._downloads.add(Wish(allow=tuple(allow), ignore=tuple(ignore), **wish))
        self.tell()  # so that whoever has the answer doesn't see older tasks after it
        return task.document()

    def _changing(self, change: Callable[[str], Task]) -> Callable[..., dict[str, Any]]:
        def call(task_id: str) -> dict[str, Any]:
            task = change(task_id)
            self.tell()
            return task.document()

        return call


def main() -> None:
    """Work until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the server ends this process
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever libraries print goes where log lines go
    os.nice(_NICENESS)
    work(sys.stdin.buffer, out)
    # The threads of searches and files may hang in a read; nothing is lost with them.
    os._exit(0)


def work(commands: BinaryIO, out: BinaryIO) -> None:
    """Follow commands up to their end."""
    from actors.catalog.settings_store import SettingsStore
    from actors.logs import LogConfig
    from omlx.folders import hf_cache_folder
    from omlx.logs import configure_logging, keep_lines
    from omlx.settings import ServeSettings, decide

    first = json.loads(commands.readline())
    configure_logging(first["log_level"], first["log_format"])
    base = Path(first["base_path"])
    store = SettingsStore(base)
    writing, changed = threading.Lock(), threading.Event()

    def asked() -> ServeSettings:
        store.reread()
        return decide(base, first["given"], store.global_values(), hf_cache_folder())

    keep_lines(LogConfig(asked().log_dir, first["log_level"], first["log_format"]), "downloads")

    def say(words: Mapping[str, Any]) -> None:
        with writing, suppress(OSError):  # nobody reads any more, so the commands have ended too
            out.write(json.dumps(words).encode() + b"\n")
            out.flush()

    fetching = SettingsFetching(asked)
    downloads = DownloadQueue(TaskFile(base), fetching, changed.set, fetching.at_once)
    worker = Worker(downloads, fetching, say)

    def tell() -> None:
        while True:
            changed.wait()
            changed.clear()
            worker.tell()
            time.sleep(_NEWS_SECONDS)

    worker.tell()
    threading.Thread(target=tell, daemon=True).start()
    downloads.begin()
    pool = ThreadPoolExecutor(_CALLS_AT_ONCE)
    for line in commands:
        command = json.loads(line)
        if "answering" in command:
            fetching.answering(command["answering"])
        else:
            pool.submit(worker.answer, command)
    downloads.close()
    pool.shutdown(wait=False, cancel_futures=True)


if __name__ == "__main__":
    main()
