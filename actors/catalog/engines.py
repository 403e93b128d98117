"""One engine's life, as the catalog leads it: process, load, work, farewell, and the certainty that it has ended."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any
from uuid import uuid4

from actors.catalog.budget import Holding, Standing
from actors.catalog.clock import Clock, within
from actors.catalog.wanted import Wanted
from actors.contracts import EngineClient, EngineHost, EngineInfo, EngineOptions, EngineSpec, Route
from actors.control import EngineState, EngineStatus
from actors.errors import EngineError, ModelLoadError, OmlxError

_log = logging.getLogger(__name__)

HANDED_SECONDS = 1.0  # an engine that was given to a caller isn't sent away before the caller's request can have reached it
_ANSWER_SECONDS = 5.0  # an engine that doesn't say what it does within this time is taken to be busy
_FAREWELL_SECONDS = 30.0  # for an engine to say that it takes no more, and for a start that was called off to come to its end

Spawn = Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]]


class NotStartedError(Exception):
    """A process could not be started, which is not its model's fault."""


class Engine:
    """One engine. It belongs to one event loop, and nothing here looks at other engines.

    Attributes:
        wanted: What it was made for.
        is_pinned: Whether it stays whoever needs room.
        is_found: Whether it was found alive, and not started by this catalog.
        ending: Whether it was told to end, so that its end is no crash.
        up: Resolves when it serves, or when whoever waits for it should look again; raises what they should be told.
        over: Set when its process has ended for certain.
        rising: Brings it up.
        awaited: How many callers wait for it to come up.
        in_flight: Its jobs when it was last asked.
        measured: Bytes that it took when it was last asked.
        node: Where it stands, or is to.
    """

    def __init__(
        self, wanted: Wanted, host: EngineHost, clock: Clock, spawn: Spawn, changed: Callable[[], None], *, engine_id: str = ""
    ) -> None:
        self.model_id = wanted.model.model_id
        self.engine_id = engine_id or f"{self.model_id}-{uuid4().hex[:8]}"
        self.wanted = wanted
        self.is_pinned = wanted.is_pinned
        self.state: EngineState = "loading"
        self.reason: str | None = None
        self.info: EngineInfo | None = None
        self.ending = False
        self.up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.over = asyncio.Event()
        self.rising: asyncio.Task[None] | None = None
        self.awaited = 0
        self.in_flight = 0
        self.measured = 0
        self.client: EngineClient | None = None
        self.is_found = False
        self.node = ""
        self._host, self._clock, self._spawn, self._changed = host, clock, spawn, changed
        self._starting: asyncio.Task[EngineClient] | None = None
        self._promised = 0
        self._used_at = clock.now()
        self._loaded_at: float | None = None
        self._handed_at = float("-inf")
        self._farewell: OmlxError | None = None
        self._options = wanted.options
        self._wished_options = wanted.options
        self._configuring = False

    @property
    def is_coming(self) -> bool:
        """Whether it may serve and doesn't yet."""
        return self.state in ("waiting", "loading") and not self.over.is_set()

    @property
    def is_ready(self) -> bool:
        """Whether it takes requests."""
        return self.state == "ready"

    @property
    def reserved(self) -> int:
        """Bytes that it was promised, or takes if that is more; 0 before and after."""
        return max(self._promised, self.measured) if self._promised and not self.over.is_set() else 0

    @property
    def last_used(self) -> float:
        """When it last had a request, or was given to somebody, or came up."""
        return max(self._used_at, self._handed_at)

    def idle_seconds(self) -> float | None:
        """For how long it has had no request; None while it has one."""
        return None if self.in_flight or self.awaited else self._clock.now() - self.last_used

    def holding(self) -> Holding:
        """How the budget sees it."""
        return Holding(self.engine_id, self.node, self.reserved, self._standing(), self.last_used)

    def route(self) -> Route:
        """Give it to a caller."""
        self._handed_at = self._clock.now()
        return Route(self.model_id, self.engine_id)

    def status(self, restarts: int) -> EngineStatus:
        """How it is."""
        ready = None if self._loaded_at is None else self._clock.now() - self._loaded_at
        most = self._options.max_concurrent_requests
        return EngineStatus(self.model_id, self.engine_id, self.state, restarts, self.reason, self.info, ready, most)

    def adopt(self, client: EngineClient, memory: int, node: str) -> None:
        """Take it to be a process that was found alive on a node, and was promised so many bytes."""
        self.client, self.is_found = client, True
        self.promise(max(1, memory), node)

    def promise(self, memory: int, node: str) -> None:
        """Reserve memory for it on a node, in bytes."""
        self._promised, self.node = memory, node

    def become(self, state: EngineState) -> None:
        """Change its state, unless it is on its way out."""
        if not self.ending and self.state != state:
            self.state = state
            self._changed()

    async def start(self, spec: EngineSpec, seconds: float) -> None:
        """Start its process. Raises `NotStartedError`."""
        # A task of its own: if the start is called off, it still ends in a process or in none, and `bury` has to know.
        self._starting = self._spawn(self._host.start(spec))
        try:
            self.client = await within(self._clock, seconds, _result(self._starting))
        except TimeoutError as error:
            raise NotStartedError(f"it had no process after {seconds:.0f} s") from error
        except Exception as error:
            raise NotStartedError(str(error) or type(error).__name__) from error

    async def load(self, seconds: float) -> None:
        """Have it load its model. Raises `ModelLoadError`, or `EngineError` when its process ends."""
        assert self.client is not None
        try:
            info = await within(self._clock, seconds, self.client.load())
        except TimeoutError:
            reason = f"it was not loaded within {seconds:.0f} s and was ended"
            raise ModelLoadError(self.model_id, reason) from None
        _log.info(
            "%s is served by %s (process %d, %s, loaded in %.1f s)",
            info.model_id, info.engine_id, info.pid, info.device, info.load_seconds,
        )  # fmt: skip
        for warning in info.warnings:
            _log.warning("%s: %s", info.model_id, warning)
        self.info = info
        self._loaded_at = self._used_at = self._clock.now()
        self.become("ready")
        self.settle(None)

    def settle(self, error: OmlxError | None) -> None:
        """Tell whoever waits for it: to look again, or why there is nothing to wait for."""
        if self.up.done():
            return
        if error is None:
            self.up.set_result(None)
        else:
            self.up.set_exception(error)
            self.up.exception()  # it is the waiters' to report; there may be none

    async def measure(self) -> None:
        """Ask it what it does and takes."""
        if self.client is None or self.over.is_set():
            return
        try:
            usage = await within(self._clock, _ANSWER_SECONDS, self.client.usage())
        except EngineError:
            return  # its end is noticed elsewhere
        except TimeoutError:
            self.in_flight = max(1, self.in_flight)
            return
        self.in_flight, self.measured = usage.in_flight, usage.memory_bytes
        self._used_at = max(self._used_at, self._clock.now() - usage.idle_seconds)
        if self._loaded_at is not None:
            self._loaded_at = self._clock.now() - usage.ready_seconds  # which began before, where it was found alive
        if usage.is_retired:
            self.drain()  # an earlier catalog told it so, and ended before it did

    async def is_alive(self) -> bool:
        """Whether its process answers."""
        assert self.client is not None
        try:
            await within(self._clock, _ANSWER_SECONDS, self.client.usage())
        except (EngineError, TimeoutError):
            return False
        return True

    def configure(self, options: EngineOptions) -> None:
        """Have it work with other options, those that can be changed while it runs."""
        self._wished_options = replace(
            self._options,
            max_concurrent_requests=options.max_concurrent_requests,
            max_queued_requests=options.max_queued_requests,
        )
        if self.is_ready and not self._configuring and self._options != self._wished_options:
            self._configuring = True
            self._spawn(self._configure())

    async def evict(self) -> bool:
        """End it unless it has something to do; whether it has ended."""
        assert self.client is not None
        try:
            if not await within(self._clock, _ANSWER_SECONDS, self.client.retire(only_if_idle=True)):
                self.in_flight = max(1, self.in_flight)
                return False
        except EngineError:
            pass  # it has ended by itself
        except TimeoutError:
            self.in_flight = max(1, self.in_flight)
            return False
        self.end()
        await self.over.wait()
        return True

    def drain(self) -> None:
        """Let it finish what it has, take no more, and end. One that only comes up ends at once.

        One that was found, and has not said yet whether it serves, goes on until it has.
        """
        if self.is_coming and not self.is_found:
            self.end()
        elif self.is_ready:
            self.become("draining")
            self.ending = True
            self._spawn(self._drain())

    def end(self, farewell: OmlxError | None = None) -> None:
        """End it now, whatever it does; `farewell` is what those are told who wait for it to come up."""
        self.become("draining")
        self.ending = True
        self._farewell = farewell
        if self.rising is not None and not self.rising.done():
            self.rising.cancel()
        else:
            self._spawn(self._host.kill(self.engine_id))

    async def see_through(self) -> BaseException | None:
        """Wait for its end and make sure of it; what kept it from coming up, if it didn't."""
        assert self.rising is not None
        await asyncio.wait({self.rising})
        error = asyncio.CancelledError() if self.rising.cancelled() else self.rising.exception()
        if error is None:
            assert self.client is not None
            await self.client.closed()
        if not self.ending:
            self.become("draining")
        await self._bury()
        self.over.set()
        if self.ending:
            self.settle(self._farewell)
        return error

    def _standing(self) -> Standing:
        if self.state == "draining":
            return Standing.LEAVING
        if not self.is_ready or self.is_pinned or self.in_flight:
            return Standing.HELD
        handed = self.awaited or self._clock.now() - self._handed_at < HANDED_SECONDS
        return Standing.LEAVING if handed else Standing.IDLE

    async def _drain(self) -> None:
        assert self.client is not None
        try:
            await within(self._clock, _FAREWELL_SECONDS, self.client.retire())
            await self.client.idle()
        except (EngineError, TimeoutError) as error:
            _log.warning("%s does not say that it has finished, and is ended: %s", self.engine_id, error or "no answer")
        await self._host.kill(self.engine_id)

    async def _bury(self) -> None:
        await self._host.kill(self.engine_id)
        if self.client is None and self._starting is not None:
            try:
                self.client = await within(self._clock, _FAREWELL_SECONDS, _result(self._starting))
            except Exception as error:
                _log.info("%s has no process: %s", self.engine_id, error)
            else:
                await self._host.kill(self.engine_id)
        if self.client is not None:
            await self.client.closed()

    async def _configure(self) -> None:
        assert self.client is not None
        try:
            while self.is_ready and self._options != self._wished_options:
                options = self._wished_options
                await self.client.configure(options)
                self._options = options
        except EngineError:
            pass  # its end is noticed elsewhere
        finally:
            self._configuring = False


async def _result(task: asyncio.Task[EngineClient]) -> EngineClient:
    """What a task returns, without its being cancelled together with whoever waits."""
    return await asyncio.shield(task)
