"""What each key has had, and whether it may have more. Kept in `key-usage.json` in the base path.

Of one server: the file is written every few seconds and at the end, so a kill loses that much.
"""

import asyncio
import logging
import math
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from actors.catalog.json_file import JsonFile
from omlx.access.errors import LimitError
from omlx.access.keys import Key

_MINUTE = 60.0
_SAVE_SECONDS = 5.0
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Used:
    """What one key has had.

    Attributes:
        requests: Requests to models that were let in.
        prompt_tokens: Of all of them, those found in the prefix cache too.
        completion_tokens: Of all answers, as far as they went.
        last: When the latest request began, as ISO 8601 in UTC; empty before the first.
        day: The latest day with tokens, in UTC.
        day_tokens: Tokens of prompts and answers on that day.
    """

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    last: str = ""
    day: str = ""
    day_tokens: int = 0


@dataclass(slots=True)
class Taken:
    """The tokens of one request, once they are known."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class KeyUsage:
    """Counts. Belongs to one event loop.

    Args:
        base_path: Where it is kept.
        clock: Seconds that go on steadily.
        now: The time, in UTC.
    """

    def __init__(
        self,
        base_path: Path,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._file = JsonFile(base_path / "key-usage.json")
        self._clock = clock
        self._now = now
        self._used = defaultdict(Used, self._read())
        self._minute: defaultdict[str, deque[float]] = defaultdict(deque)
        self._running: defaultdict[str, int] = defaultdict(int)
        self._changed = False
        self._keeper: asyncio.Task[None] | None = None

    def of(self, key_id: str) -> Used:
        """What a key has had."""
        return self._used.get(key_id, Used())

    def today(self, key_id: str) -> int:
        """Tokens that a key has had since midnight UTC."""
        used = self.of(key_id)
        return used.day_tokens if used.day == self._now().date().isoformat() else 0

    def forget(self, key_id: str) -> None:
        """Drop what a key has had."""
        self._used.pop(key_id, None)
        self._changed = True

    @contextmanager
    def request(self, key: Key) -> Iterator[Taken]:
        """Count one request while it runs, and its tokens afterwards. Raises `LimitError` where the key has had enough."""
        self._check(key)
        used = self._used[key.key_id]
        used.requests += 1
        used.last = self._now().isoformat(timespec="seconds")
        if key.limits.requests_per_minute is not None:
            self._minute[key.key_id].append(self._clock())
        self._running[key.key_id] += 1
        self._changed = True
        taken = Taken()
        try:
            yield taken
        finally:
            self._running[key.key_id] -= 1
            self._add(used, taken)

    async def start(self) -> None:
        """Begin to keep what is counted."""
        self._keeper = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Write what has been counted."""
        if self._keeper is not None:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeper
        await self.save()

    async def save(self) -> None:
        """Write the file if there is news, in a thread: a disk may take its time. One that is against it is logged."""
        if not self._changed:
            return
        self._changed = False
        try:
            await asyncio.to_thread(self._write, {key_id: asdict(used) for key_id, used in self._used.items()})
        except OSError as error:
            self._changed = True
            _log.warning("what keys have used can't be kept: %s", error)

    def _check(self, key: Key) -> None:
        limits = key.limits
        if limits.concurrent_requests is not None and self._running[key.key_id] >= limits.concurrent_requests:
            raise LimitError(f"The key '{key.name}' may have {limits.concurrent_requests} requests at once.", 1)
        if limits.requests_per_minute is not None:
            minute = self._minute[key.key_id]
            while minute and minute[0] <= self._clock() - _MINUTE:
                minute.popleft()
            if len(minute) >= limits.requests_per_minute:
                wait = math.ceil(minute[0] + _MINUTE - self._clock())
                raise LimitError(f"The key '{key.name}' may have {limits.requests_per_minute} requests a minute.", wait)
        if limits.tokens_per_day is not None and self.today(key.key_id) >= limits.tokens_per_day:
            now = self._now()
            tomorrow = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
            wait = math.ceil((tomorrow - now).total_seconds())
            raise LimitError(f"The key '{key.name}' may have {limits.tokens_per_day} tokens a day (UTC).", wait)

    def _add(self, used: Used, taken: Taken) -> None:
        used.prompt_tokens += taken.prompt_tokens
        used.completion_tokens += taken.completion_tokens
        day = self._now().date().isoformat()
        before = used.day_tokens if used.day == day else 0
        used.day, used.day_tokens = day, before + taken.prompt_tokens + taken.completion_tokens
        self._changed = True

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(_SAVE_SECONDS)
            await self.save()

    def _write(self, content: Mapping[str, Any]) -> None:
        self._file.path.parent.mkdir(parents=True, exist_ok=True)
        self._file.write(content)

    def _read(self) -> Mapping[str, Used]:
        try:
            return {key_id: _used(kept) for key_id, kept in self._file.read().items()}
        except (ValueError, TypeError) as error:
            _log.warning("%s is broken (%s) and kept as %s; counting begins anew", self._file.path, error, self._file.set_aside())
        except OSError as error:
            _log.warning("%s can't be read; counting begins anew: %s", self._file.path, error)
        return {}


def _used(kept: Mapping[str, Any]) -> Used:
    used = Used(**kept)
    if any(type(value) is not type(getattr(Used(), name)) for name, value in asdict(used).items()):
        raise ValueError("a value is of another type")
    return used
