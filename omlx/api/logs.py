"""`/admin/api/logs`: what the server's processes log, once and as it is written."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from omlx.api.body import queried, read_options
from omlx.api.errors import RequestError
from omlx.api.openai import ErrorResponse
from omlx.api.sse import QUIET, EventStream, event
from omlx.log_line import LogLine
from omlx.log_tail import LogTail

_SECONDS = 0.5  # between two looks at the files
_QUIET_LOOKS = 30  # without a line, after which a stream says that it lives


class LogOptions(BaseModel):
    """Which lines are wanted, in the query string."""

    level: Literal["debug", "info", "warning", "error", "critical"] = "debug"
    source: str | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 200


class LogLineShown(BaseModel):
    """A line. `time` is in UTC, `source` the file's name without its ending."""

    time: str
    level: str
    source: str
    message: str
    request_id: str | None
    exception: str | None


class LogsShown(BaseModel):
    """Lines, the latest last, and who logs here."""

    sources: tuple[str, ...]
    lines: list[LogLineShown]


def log_routes(folder: Path) -> APIRouter:
    """The routes, given where the log files are."""
    router = APIRouter(
        prefix="/admin/api/logs",
        tags=["Administration"],
        responses={"default": {"model": ErrorResponse, "description": "An error"}},
    )

    @router.get("", openapi_extra=queried(LogOptions))
    async def show_lines(http: Request) -> LogsShown:
        """The latest lines, of all processes or of one."""
        asked = await read_options(http, LogOptions)
        tail = LogTail(folder, asked.source, asked.level)
        return _shown(tail, await _first(tail, asked), asked.limit)

    @router.get(
        "/events",
        response_class=Response,
        responses={200: {"content": {"text/event-stream": {}}}},
        openapi_extra=queried(LogOptions),
    )
    async def watch_lines(http: Request) -> Response:
        """The latest lines, and then those that are written, as server-sent events."""
        events = _events(folder, await read_options(http, LogOptions))
        return EventStream(await anext(events), events)

    return router


def line_shown(line: LogLine) -> LogLineShown:
    """A line as JSON has it."""
    return LogLineShown(
        time=line.time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        level=line.level,
        source=line.source,
        message=line.message,
        request_id=line.request_id,
        exception=line.exception,
    )


async def _events(folder: Path, asked: LogOptions) -> AsyncGenerator[bytes, None]:
    tail = LogTail(folder, asked.source, asked.level)
    lines = await _first(tail, asked)
    yield event(_shown(tail, lines, asked.limit).model_dump())
    sources, quiet_looks = tail.sources, 0
    while True:
        await asyncio.sleep(_SECONDS)
        lines = await asyncio.to_thread(tail.look)
        quiet_looks += 1
        if lines or tail.sources != sources:
            sources, quiet_looks = tail.sources, 0
            yield event(_shown(tail, lines, asked.limit).model_dump())
        elif quiet_looks == _QUIET_LOOKS:
            quiet_looks = 0
            yield QUIET


async def _first(tail: LogTail, asked: LogOptions) -> list[LogLine]:
    """What there is. Raises `RequestError` where nobody has the name that was asked for."""
    lines = await asyncio.to_thread(tail.look)
    if asked.source is not None and asked.source not in tail.sources:
        there = ", ".join(tail.sources) or "none"
        raise RequestError(f"There is no log {asked.source!a}; there are: {there}.", param="source")
    return lines


def _shown(tail: LogTail, lines: Sequence[LogLine], limit: int) -> LogsShown:
    return LogsShown(sources=tail.sources, lines=[line_shown(line) for line in lines[-limit:]])
