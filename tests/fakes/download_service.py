"""A stand-in for the process that downloads: what `omlx.api.ports.Downloads` promises, in memory."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from omlx.downloads.refusals import refusal

CARD = {
    "repository": "org/tiny",
    "downloads": 5,
    "likes": None,
    "updated": 1.5e9,
    "is_mlx": True,
    "is_gated": False,
    "commit": "c" * 40,
    "files": [{"path": "model.safetensors", "size": 9, "is_fetched": True}, {"path": "a.bin", "size": 8, "is_fetched": False}],
    "problem": None,
    "memory_bytes": 12,
    "license": "mit",
    "text": "# Tiny",
}


class FakeDownloads:
    """Tasks that are fetched as soon as `finish` is called.

    Attributes:
        searches: What was searched for.
    """

    def __init__(self) -> None:
        self.searches: list[dict[str, Any]] = []
        self._tasks: dict[str, dict[str, Any]] = {}
        self._news = asyncio.Event()

    async def search(self, source: str, words: str, **options: Any) -> dict[str, Any]:
        """One model of that name."""
        self.searches.append({"source": source, "words": words, **options})
        found = {name: CARD[name] for name in ("repository", "downloads", "likes", "updated", "is_mlx", "is_gated")}
        return {"endpoint": "https://hub", "models": [found]}

    async def card(self, source: str, name: str, revision: str | None) -> dict[str, Any]:
        """The one model's."""
        if name != CARD["repository"]:
            raise refusal("UnknownModelError", f"There is no model {name} on {source} at {revision}.")
        return CARD

    async def add(self, source: str, wish: Mapping[str, Any]) -> dict[str, Any]:
        """A task that is queued."""
        task = {"id": f"t{len(self._tasks)}", "source": source, **wish, "state": "queued", "created": 1.0, "changed": 1.0}
        self._set({**task, "progress": None, "note": None, "error": None})
        return self._tasks[task["id"]]

    async def change(self, task_id: str, verb: str) -> dict[str, Any]:
        """A task in the state that the verb leads to."""
        if task_id not in self._tasks:
            raise refusal("UnknownTaskError", f"There is no download {task_id!a}.")
        states = {"pause": "paused", "cancel": "cancelled", "retry": "queued", "forget": "cancelled"}
        task = {**self._tasks[task_id], "state": states[verb]}
        self._set(task)
        if verb == "forget":
            del self._tasks[task_id]
        return task

    def finish(self, task_id: str) -> None:
        """Have a task be done."""
        progress = {"done": 9, "total": 9, "files_done": 1, "files_total": 1, "bytes_per_second": 3.0, "seconds_left": 0.0}
        self._set({**self._tasks[task_id], "state": "done", "progress": progress})

    async def tasks(self, source: str) -> list[dict[str, Any]]:
        """Those of a source."""
        return [task for task in self._tasks.values() if task["source"] == source]

    async def watch(self, source: str) -> AsyncGenerator[list[dict[str, Any]], None]:
        """Those of a source, and again."""
        while True:
            news = self._news
            yield await self.tasks(source)
            await news.wait()

    def _set(self, task: dict[str, Any]) -> None:
        self._tasks[task["id"]] = task
        news, self._news = self._news, asyncio.Event()
        news.set()
