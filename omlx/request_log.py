"""One line for each request, and the id of the request in every line that is logged on its behalf. Never a prompt, never an answer."""

import asyncio
import logging
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from weakref import ref

from omlx.record import RequestRecord

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Current:
    """A request, and the task that it is answered in: whoever took over its context and lives longer has no request any more."""

    request_id: str
    task: ref[asyncio.Task[Any]]


_current: ContextVar[_Current | None] = ContextVar("omlx_current_request", default=None)


def current_request() -> str:
    """The id of the request that is being handled here, in its task or in those that it started; empty where there is none."""
    current = _current.get()
    task = current.task() if current else None
    return current.request_id if current and task and not task.done() else ""


class RequestIds(logging.Filter):
    """Lets every record pass, those that belong to a request with a `request_id`."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Note the request, unless the record names one."""
        if request_id := current_request():
            vars(record).setdefault("request_id", request_id)
        return True


class RequestLog:
    """See `omlx.record.RequestObserver`. Requests to models are told at `info`, others at `debug`, failures of the server above."""

    def began(self, record: RequestRecord) -> None:
        """Have what this task logs from here on carry the request's id."""
        task = asyncio.current_task()
        assert task is not None
        _current.set(_Current(record.request_id, ref(task)))

    def ended(self, record: RequestRecord) -> None:
        """Log the request's line."""
        level = _level(record)
        if _log.isEnabledFor(level):
            fields = request_fields(record)
            _log.log(level, "%s", _sentence(fields), extra=fields)


def request_fields(record: RequestRecord) -> dict[str, Any]:
    """What is known of a request that is over, by the names that a JSON line has. Times are in seconds, to a tenth of a millisecond."""
    usage = record.usage
    pace = record.seconds_per_output_token
    taken = record.prompt_tokens > 0
    fields = {
        "request_id": record.request_id,
        "key": record.key_name or None,
        "method": record.method,
        "endpoint": record.endpoint,
        "status": record.status or None,
        "model": record.model_id or None,
        "answer_id": record.answer_id or None,
        "stream": record.stream if record.is_generation and (record.stream or record.model_id) else None,
        "prompt_tokens": record.prompt_tokens if taken else None,
        "cached_tokens": usage.cached_tokens if usage else None,
        "completion_tokens": record.completion_tokens if taken and record.is_generation else None,
        "seconds": _rounded(record.seconds),
        "seconds_to_first_token": _rounded(record.seconds_to_first_token),
        "queue_seconds": _rounded(usage.queue_seconds) if usage else None,
        "prefill_seconds": _rounded(usage.prefill_seconds) if usage else None,
        "decode_seconds": _rounded(usage.decode_seconds) if usage else None,
        "tokens_per_second": round(1 / pace, 2) if pace else None,
        "finish_reason": record.finish_reason or None,
        "error": record.error or None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)


def _level(record: RequestRecord) -> int:
    if record.status == HTTPStatus.INTERNAL_SERVER_ERROR or record.error == "internal_error":
        return logging.ERROR
    if record.status > HTTPStatus.INTERNAL_SERVER_ERROR or record.finish_reason == "error":
        return logging.WARNING
    return logging.INFO if record.for_model else logging.DEBUG


def _sentence(fields: Mapping[str, Any]) -> str:
    """A request's fields for people; the id stands before it, as in every line."""
    head = [fields[name] for name in ("method", "endpoint", "status", "model") if name in fields]
    parts = []
    if "prompt_tokens" in fields:
        cached = f" ({fields['cached_tokens']} cached)" if fields.get("cached_tokens") else ""
        parts.append(f"{fields['prompt_tokens']} in{cached}")
    if "completion_tokens" in fields:
        parts.append(f"{fields['completion_tokens']} out")
    if "seconds_to_first_token" in fields:
        parts.append(f"first token {_time(fields['seconds_to_first_token'])}")
    if "tokens_per_second" in fields:
        parts.append(f"{fields['tokens_per_second']:.1f} tokens/s")
    parts.append(_time(fields["seconds"]))
    parts += [fields[name] for name in ("finish_reason", "error") if name in fields]
    return f"{' '.join(map(str, head))} {', '.join(parts)}"


def _time(seconds: float) -> str:
    """With the digits that matter: 0.004 s, 0.21 s, 3.10 s, 45.2 s."""
    digits = 3 if seconds < 0.1 else 2 if seconds < 10 else 1
    return f"{seconds:.{digits}f} s"
