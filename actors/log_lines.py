"""How a log line is worded: as text for people, or as a JSON object for programs."""

import json
import logging
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

# What every record has, and what libraries add for formatters of their own. The rest are the fields of a line.
_NO_FIELDS = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "color_message"})
_MAX_DEPTH = 6  # of a field's value; deeper, or going round in circles, it is a text
# Control characters, other line ends, marks that turn the writing direction around, halves of characters.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def line_format(name: str, time_format: str | None = None) -> logging.Formatter:
    """A formatter, `text` or `json`.

    Args:
        name: The setting `log_format`.
        time_format: For text: the local time in terms of `time.strftime`; date, time and milliseconds where it is None.
    """
    return JsonLines() if name == "json" else TextLines(datefmt=time_format)


class TextLines(logging.Formatter):
    """Time, level, the id of the request that it belongs to, message; an exception below, indented.

    Whatever a message holds, it is one line, and no line of an exception can be taken for one of the log's own.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        request_id = str(getattr(record, "request_id", ""))
        words = (self.formatTime(record, self.datefmt), f"{record.levelname:<7}", request_id, _message(record))
        line = _escaped(" ".join(word for word in words if word))
        return "\n    ".join((line, *(_escaped(each) for each in _exception(self, record).splitlines())))


class JsonLines(logging.Formatter):
    """`time` (UTC, RFC 3339), `level`, `logger`, `message`, `exception` where there is one, and what `extra` gave.

    ASCII only, so that no reader finds another line's end in it than the last.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The object, without a line's end."""
        document: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        if exception := _exception(self, record):
            document["exception"] = exception
        fields = {name: value for name, value in vars(record).items() if _is_field(name) and name not in document}
        return json.dumps(_plain(document | fields))


def _is_field(name: str) -> bool:
    return name not in _NO_FIELDS and not name.startswith("_")  # Ray gives every record of its processes a private one


def _message(record: logging.LogRecord) -> str:
    """What the record says; a call whose arguments don't fit says it as it can."""
    try:
        return record.getMessage().rstrip()
    except Exception:
        return f"{_text(record.msg)} {_text(record.args)}"


def _exception(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """The traceback, or the stack that was asked for; empty without."""
    trace = formatter.formatException(record.exc_info) if record.exc_info and record.exc_info[0] else record.exc_text or ""
    return "\n".join(part for part in (trace, record.stack_info) if part)


def _escaped(text: str) -> str:
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _plain(value: object, depth: int = 0) -> Any:
    """A value as JSON can hold it: numbers and booleans stay what they are, what it can't hold is a text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) < 1 << 63:
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, Mapping) and depth < _MAX_DEPTH:
        return {_text(key): _plain(each, depth + 1) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset) and depth < _MAX_DEPTH:
        return [_plain(each, depth + 1) for each in value]
    return _text(value)


def _text(value: object) -> str:
    """A value in words that are whole characters."""
    try:
        return str(value).encode(errors="replace").decode()
    except Exception:
        return f"<{type(value).__name__}>"
