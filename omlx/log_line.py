"""What a line of a log file says, read back from how `actors.log_lines` words it."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import orjson

LEVELS = ("debug", "info", "warning", "error", "critical")
_TEXT = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) ([A-Z]+)(?: +(.*))?", re.DOTALL)
# The server's own ids, and those of clients where a method shows that they are no word of the message.
_REQUEST = re.compile(r"(req_[0-9a-f]{32}|\S{1,128}(?= [A-Z]+ /)) (.*)", re.DOTALL)
_INDENT = "    "


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line, with what stands below it.

    Attributes:
        time: In UTC.
        level: One of `LEVELS`.
        source: Whose file it is in.
        request_id: The request that it belongs to, if it is known.
        exception: The traceback, if there is one.
    """

    time: datetime
    level: str
    source: str
    message: str
    request_id: str | None = None
    exception: str | None = None


def parse_rows(rows: Iterable[str], source: str, least: str = LEVELS[0]) -> list[LogLine]:
    """The lines of some rows of a file, those that are at least so severe.

    A row that begins no line belongs to the line above it; where there is none, it is left out.
    """
    severe = LEVELS[LEVELS.index(least) :]
    found: list[tuple[LogLine, list[str]]] = []
    is_wanted = False
    for row in rows:
        line = _parse(row, source)
        if line is not None:
            is_wanted = line.level in severe
            if is_wanted:
                found.append((line, [line.exception] if line.exception else []))
        elif is_wanted and row:
            found[-1][1].append(row.removeprefix(_INDENT))
    return [replace(line, exception="\n".join(below) or None) for line, below in found]


def finished(rows: Sequence[str]) -> int:
    """How many of the rows no later one can belong to. Those of a last line in text are not among them."""
    for place in range(len(rows) - 1, -1, -1):
        if _parse(rows[place], "") is not None:
            return place if _TEXT.match(rows[place]) else len(rows)
    return len(rows)


def _parse(row: str, source: str) -> LogLine | None:
    """The line that a row begins, if it does."""
    try:
        return _json(row, source) if row.startswith("{") else _text(row, source)
    except (ValueError, KeyError, TypeError):
        return None


def _text(row: str, source: str) -> LogLine | None:
    found = _TEXT.fullmatch(row)
    if found is None or found[2].lower() not in LEVELS:
        return None
    words = found[3] or ""
    request = _REQUEST.fullmatch(words)
    request_id, message = request.groups() if request else (None, words)
    return LogLine(_time(found[1]), found[2].lower(), source, message, request_id)


def _json(row: str, source: str) -> LogLine | None:
    said = orjson.loads(row)
    if said["level"] not in LEVELS:
        return None
    texts = {name: str(said[name]) for name in ("request_id", "exception") if said.get(name)}
    return LogLine(_time(said["time"]), said["level"], source, str(said["message"]), **texts)


def _time(text: str) -> datetime:
    """In UTC; a time without a zone is this machine's."""
    return datetime.fromisoformat(text).astimezone(UTC)
