"""Who is signed in, in which browser. In memory: a restart of the server signs everybody out."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from omlx.access.keys import digest_of

SECONDS = 7 * 86_400  # that a session lasts
_MOST = 1000


@dataclass(frozen=True, slots=True)
class Grant:
    """What somebody is signed in by; the session ends with it.

    Attributes:
        kind: `password`, `key`, or `open` where none was asked for.
        of: The kept password, or the key's id.
    """

    kind: str
    of: str = ""


class Sessions:
    """The sessions by what a browser sends. Of each, only a hash is kept.

    Args:
        clock: Seconds that go on steadily.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._granted: dict[str, tuple[frozenset[Grant], float]] = {}  # with the time when it ends, the soonest first

    def begin(self, grant: Grant) -> str:
        """Sign somebody in; what their browser is to send. Beyond a thousand sessions, the oldest ends."""
        now = self._clock()
        self._granted = {each: kept for each, kept in self._granted.items() if kept[1] > now}
        while len(self._granted) >= _MOST:
            del self._granted[next(iter(self._granted))]
        token = secrets.token_urlsafe(32)
        self._granted[digest_of(token)] = (frozenset((grant,)), now + SECONDS)
        return token

    def add(self, token: str, grant: Grant) -> None:
        """Have a session last as long as this does, too; nobody's is no error."""
        found = self._granted.get(digest_of(token))
        if found is not None:
            self._granted[digest_of(token)] = (found[0] | {grant}, found[1])

    def grants(self, token: str) -> frozenset[Grant]:
        """What somebody is signed in by, each of which is enough; nothing for nobody."""
        found = self._granted.get(digest_of(token))
        return found[0] if found is not None and found[1] > self._clock() else frozenset()

    def end(self, token: str) -> None:
        """Sign somebody out; nobody is no error."""
        self._granted.pop(digest_of(token), None)
