"""The server's end of the process that downloads: starts it when it is needed, and again when it has died."""

import asyncio
import json
import logging
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from typing import Any

from omlx.downloads.errors import BrokenOffError
from omlx.downloads.refusals import refusal
from omlx.downloads.task_file import TaskFile
from omlx.settings import ServeSettings

_COMMAND = (sys.executable, "-P", "-m", "omlx.downloads.worker")
_LONGEST_LINE = 1 << 26
_END_SECONDS = 3  # for the process to keep what has come
_AGAIN_SECONDS = (1.0, 60.0)  # before it is started again, at first and at most
_LOOK_SECONDS = 0.5  # between two looks at whether a model answers
_ACTIVE = ("queued", "downloading")
_log = logging.getLogger(__name__)


class DownloadService:
    """See `omlx.api.ports.Downloads`. Belongs to one event loop.

    Args:
        settings: The process' settings.
        is_answering: Whether a model answers just now: downloads give way then.
        command: What the process is.
    """

    def __init__(self, settings: ServeSettings, is_answering: Callable[[], bool], command: Sequence[str] = _COMMAND) -> None:
        self._settings = settings
        self._is_answering = is_answering
        self._command = tuple(command)
        self._process: Process | None = None
        self._starting = asyncio.Lock()
        self._reader: asyncio.Task[None] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._again: asyncio.Task[None] | None = None
        self._delay = _AGAIN_SECONDS[0]
        self._ids = count()
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._tasks: list[dict[str, Any]] | None = None
        self._news = asyncio.Event()  # set and replaced whenever the tasks have changed
        self._is_ending = False

    async def start(self) -> None:
        """Go on with what an earlier server left unfinished."""
        kept = await asyncio.to_thread(TaskFile(self._settings.base_path).read)
        if any(task.state.is_active for task in kept):
            await self._running()

    async def stop(self) -> None:
        """End the process; what has come is kept."""
        self._is_ending = True
        for task in (self._again, self._watcher):
            if task is not None:
                task.cancel()
        process = self._process
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        try:
            async with asyncio.timeout(_END_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
        if self._reader is not None:
            await self._reader

    @property
    def pid(self) -> int | None:
        """The process, while there is one."""
        return self._process.pid if self._process is not None else None

    async def search(self, source: str, words: str, *, sort: str, limit: int, only_mlx: bool) -> dict[str, Any]:
        found: dict[str, Any] = await self._call("search", source=source, words=words, sort=sort, limit=limit, only_mlx=only_mlx)
        return found

    async def card(self, source: str, name: str, revision: str | None) -> dict[str, Any]:
        card: dict[str, Any] = await self._call("card", source=source, name=name, revision=revision)
        return card

    async def add(self, source: str, wish: Mapping[str, Any]) -> dict[str, Any]:
        task: dict[str, Any] = await self._call("add", source=source, **wish)
        return task

    async def change(self, task_id: str, verb: str) -> dict[str, Any]:
        task: dict[str, Any] = await self._call(verb, task_id=task_id)
        return task

    async def tasks(self, source: str) -> list[dict[str, Any]]:
        await self._running()
        while self._tasks is None:
            await self._news.wait()
        return self._of(source)

    async def watch(self, source: str) -> AsyncGenerator[list[dict[str, Any]], None]:
        """See `omlx.api.ports.Downloads`."""
        shown = await self.tasks(source)
        yield shown
        while True:
            news = self._news
            if (present := self._of(source)) != shown:
                shown = present
                yield shown
            await news.wait()

    def _of(self, source: str) -> list[dict[str, Any]]:
        return [task for task in self._tasks or () if task["source"] == source]

    async def _call(self, call: str, /, **arguments: Any) -> Any:
        process = await self._running()
        number = next(self._ids)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        try:
            await _say(process, {"id": number, "call": call, "arguments": arguments})
            return await answer
        finally:
            self._answers.pop(number, None)

    async def _running(self) -> Process:
        async with self._starting:
            if self._process is None:
                if self._is_ending:
                    raise refusal(BrokenOffError.__name__, "The server is ending.")
                self._tasks = None
                process = await asyncio.create_subprocess_exec(*self._command, stdin=PIPE, stdout=PIPE, limit=_LONGEST_LINE)
                self._process = process
                self._reader = asyncio.create_task(self._read(process))
                settings = self._settings
                first = {"base_path": str(settings.base_path), "given": dict(settings.given)}
                await _say(process, {**first, "log_level": settings.log_level, "log_format": settings.log_format})
                self._watcher = asyncio.create_task(self._tell_of_answers(process))
            return self._process

    async def _read(self, process: Process) -> None:
        """Take what the process says, up to its end."""
        assert process.stdout is not None
        with suppress(ValueError):  # a line without end
            while line := await process.stdout.readline():
                self._take(json.loads(line))
                self._delay = _AGAIN_SECONDS[0]
        code = await process.wait()
        self._process = None
        if self._watcher is not None:
            self._watcher.cancel()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(
                    refusal(BrokenOffError.__name__, "The process that downloads has ended. What has come is kept; try again.")
                )
        if self._is_ending:
            return
        _log.error("the process that downloads has ended (%d)", code)
        if any(task["state"] in _ACTIVE for task in self._tasks or ()):
            self._again = asyncio.create_task(self._start_again())

    async def _tell_of_answers(self, process: Process) -> None:
        told = False
        while True:
            if self._is_answering() != told:
                told = not told
                await _say(process, {"answering": told})
            await asyncio.sleep(_LOOK_SECONDS)

    async def _start_again(self) -> None:
        delay, self._delay = self._delay, min(2 * self._delay, _AGAIN_SECONDS[1])
        await asyncio.sleep(delay)
        await self._running()

    def _take(self, said: Mapping[str, Any]) -> None:
        if "tasks" in said:
            self._tasks = said["tasks"]
            news, self._news = self._news, asyncio.Event()
            news.set()
            return
        answer = self._answers.get(said["id"])
        if answer is None or answer.done():
            return  # whoever asked has gone
        if "error" in said:
            answer.set_exception(refusal(said["error"]["type"], said["error"]["message"]))
        else:
            answer.set_result(said["result"])


async def _say(process: Process, words: Mapping[str, Any]) -> None:
    assert process.stdin is not None
    with suppress(ConnectionError):  # it has died, which whoever reads from it will see
        process.stdin.write(json.dumps(words).encode() + b"\n")
        await process.stdin.drain()
