"""One model's engines, and what is remembered of those that ended."""

from dataclasses import dataclass, field

from actors.catalog.backoff import Backoff
from actors.catalog.engines import Engine
from actors.catalog.wanted import Wanted
from actors.contracts import Route
from actors.control import EngineStatus

_BEST_FIRST = ("ready", "loading", "waiting", "draining", "failed")


@dataclass(slots=True)
class Fleet:
    """One model's engines.

    Attributes:
        wanted: How it is to be served; None when it is gone from the disk.
        engines: Those that have not ended.
        failed_for: What a load failed for that isn't tried again unless it changes or somebody asks for it by hand.
        reason: Why the last attempt failed, if it did.
        failed_id: The engine of that attempt.
        restarts: How often an engine was started again after a crash.
        unloaded: Whether it was unloaded by hand, and stays so until somebody asks for it.
        retry_at: When it is tried again unasked, by the clock.
    """

    model_id: str
    wanted: Wanted | None = None
    engines: list[Engine] = field(default_factory=list)
    backoff: Backoff = field(default_factory=Backoff)
    failed_for: Wanted | None = None
    reason: str | None = None
    failed_id: str = ""
    restarts: int = 0
    unloaded: bool = False
    retry_at: float = float("-inf")

    @property
    def up(self) -> list[Engine]:
        """Those that serve or are to serve: as many as the model has replicas, at the most."""
        return [engine for engine in self.engines if engine.is_ready or engine.is_coming]

    @property
    def ready(self) -> list[Engine]:
        """Those that serve."""
        return [engine for engine in self.engines if engine.is_ready]

    @property
    def coming(self) -> list[Engine]:
        """Those that are to serve and don't yet."""
        return [engine for engine in self.engines if engine.is_coming]

    @property
    def surplus(self) -> list[Engine]:
        """Those that are more than it should have: first those that don't serve yet, then those that have served least lately."""
        assert self.wanted is not None
        order = sorted(self.up, key=lambda engine: (engine.is_ready, engine.last_used))
        return order[: max(0, len(order) - self.wanted.replicas)]

    @property
    def routes(self) -> tuple[Route, ...]:
        """To those that serve."""
        return tuple(Route(self.model_id, engine.engine_id) for engine in self.ready)

    @property
    def statuses(self) -> tuple[EngineStatus, ...]:
        """Of all of them, and of one that failed for good."""
        own = tuple(engine.status(self.restarts) for engine in self.engines)
        if self.failed_for is None or self.up:
            return own
        return (*own, EngineStatus(self.model_id, self.failed_id, "failed", self.restarts, self.reason))

    @property
    def state(self) -> str:
        """The best of its engines' states; `unloaded` without any."""
        states = {status.state for status in self.statuses}
        return next((state for state in _BEST_FIRST if state in states), "unloaded")

    @property
    def is_expired(self) -> bool:
        """Whether nobody has asked for it in so long that it is to be unloaded."""
        wanted, idle = self.wanted, self.idle_seconds()
        if wanted is None or wanted.is_pinned or not wanted.ttl_seconds or self.coming:
            return False
        return idle is not None and idle >= wanted.ttl_seconds

    def idle_seconds(self) -> float | None:
        """For how long no engine has had a request; None while one has, or none serves."""
        idle = [engine.idle_seconds() for engine in self.ready]
        known = [seconds for seconds in idle if seconds is not None]
        return min(known) if known and len(known) == len(idle) else None

    def forget(self) -> None:
        """Forget what failed."""
        self.failed_for, self.reason, self.failed_id = None, None, ""
        self.retry_at = float("-inf")
        self.backoff = Backoff()

    def fail(self, engine: Engine, reason: str, *, until_changed: bool, retry_at: float) -> None:
        """Remember why an attempt failed."""
        self.reason, self.failed_id, self.retry_at = reason, engine.engine_id, retry_at
        self.failed_for = engine.wanted if until_changed else None
