"""What has become of engines lately, for those who follow the catalog."""

from collections import deque

from actors.control import LifeEvent

_KEPT = 500


class EventLog:
    """The latest events, each with the revision that it came with."""

    def __init__(self) -> None:
        self._events: deque[tuple[int, LifeEvent]] = deque(maxlen=_KEPT)

    def add(self, revision: int, event: LifeEvent) -> None:
        """Keep an event of a revision, which is no less than those before."""
        self._events.append((revision, event))

    def since(self, revision: int) -> tuple[LifeEvent, ...]:
        """Those that came after a revision, the oldest first."""
        return tuple(event for at, event in self._events if at > revision)
