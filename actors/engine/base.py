"""What engines of every kind do: load once, bound their queue, keep streams open, tell what they are doing."""

import asyncio
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from time import monotonic
from typing import Generic, Protocol, TypeVar

from actors.contracts import EngineInfo, EngineOptions, EngineSpec, EngineUsage
from actors.engine.memory import process_bytes
from actors.engine.model_thread import Loading, ModelThread
from actors.engine.occupancy import Occupancy
from actors.engine.outbox import Outbox
from actors.errors import EngineError, InvalidSettingError, ModelLoadError, QueueFullError
from actors.folder_lock import FolderLock
from scheduler.queue_bound import QueueBound
from scheduler.stats import SchedulerStats

_log = logging.getLogger(__name__)
_LAST_WORDS_SECONDS = 1.0  # for consumers to take what is left for them


class LoadedModel(Protocol):
    """What every kind of engine asks of its model; see `actors.engine.backend.Backend`."""

    @property
    def device(self) -> str: ...
    @property
    def context_length(self) -> int: ...
    @property
    def warnings(self) -> tuple[str, ...]: ...
    @property
    def device_bytes(self) -> Callable[[], int] | None: ...


ModelT = TypeVar("ModelT", bound=LoadedModel)


class EngineBase(ABC, Generic[ModelT]):
    """Everything runs on the event loop that `load` was first called on, but for the thread that has the model.

    Args:
        spec: Who it is and what it serves.
        on_broken: Called once when the engine can't go on: its requests have been told, and its streams are ending.
    """

    def __init__(self, spec: EngineSpec, on_broken: Callable[[str], None]) -> None:
        self.spec = spec
        self._on_broken = on_broken
        self._outboxes: dict[str, Outbox] = {}
        self._stats = SchedulerStats()
        self._thread: ModelThread | None = None
        self._loaded: asyncio.Future[ModelT] | None = None
        self._in_use: FolderLock | None = None
        self._load_seconds = 0.0
        self._device_bytes: Callable[[], int] | None = None
        self._broken: str | None = None
        self._retired = False
        self._occupancy = Occupancy()
        self._bound = QueueBound(_most_held(spec.options))
        # One thread: a tokenizer is not to be called twice at once.
        self._encoder = ThreadPoolExecutor(1, thread_name_prefix="omlx-encode")

    @abstractmethod
    def _new_thread(self, loading: Loading[ModelT]) -> ModelThread:
        """What will load the model and work with it."""

    @abstractmethod
    def _held(self) -> int:
        """Requests that are taken and have not ended."""

    @abstractmethod
    async def _abandon(self, consumer: str) -> None:
        """A consumer's stream is closed: nobody waits for its requests any more."""

    @abstractmethod
    def _fail_all(self, error: EngineError) -> None:
        """End every request with an error."""

    def _ready(self, model: ModelT) -> None:
        """The model has been loaded."""

    def _resized(self, most: int) -> None:
        """So many requests may be answered at once from now on."""

    async def load(self) -> EngineInfo:
        """Load the model if it isn't yet; any number may wait for one load. Raises `ModelLoadError`."""
        model = await self._model()
        return EngineInfo(
            engine_id=self.spec.engine_id,
            model_id=self.spec.model.model_id,
            pid=os.getpid(),
            device=model.device,
            context_length=model.context_length,
            load_seconds=self._load_seconds,
            warnings=model.warnings,
        )

    async def stream(self, consumer: str) -> AsyncIterator[bytes]:
        """The one stream of a consumer; see `actors.contracts.EngineClient`."""
        outbox = Outbox(self._stats)
        earlier = self._outboxes.get(consumer)
        if earlier is not None:
            earlier.close()
        self._outboxes[consumer] = outbox
        if self._broken is not None:
            outbox.close()
        try:
            while (item := await outbox.take()) is not None:
                yield item
        finally:
            if self._outboxes.get(consumer) is outbox:
                del self._outboxes[consumer]
                await self._abandon(consumer)

    async def usage(self) -> EngineUsage:
        """What it is doing, and what it takes."""
        taken = process_bytes() if self._device_bytes is None else self._device_bytes()
        return EngineUsage(
            self._occupancy.held, self._occupancy.idle_seconds, taken, self._retired, self._occupancy.ready_seconds
        )

    async def retire(self, *, only_if_idle: bool = False) -> bool:
        """Take no more jobs; see `actors.contracts.EngineClient`. Last words that nobody has fetched yet count as work too."""
        if only_if_idle and (self._occupancy.held or not all(outbox.is_empty for outbox in self._outboxes.values())):
            return False
        self._retired = True
        return True

    async def idle(self) -> None:
        """Return when no job is in flight, and its last words have been fetched, unless nobody comes for them."""
        await self._occupancy.empty()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_SECONDS):
                for outbox in tuple(self._outboxes.values()):
                    await outbox.emptied()

    async def configure(self, options: EngineOptions) -> None:
        """Have another batch and queue from the next step on; other options stay. Raises `InvalidSettingError`."""
        batch = options.max_concurrent_requests
        if batch < 1:
            raise InvalidSettingError("max_concurrent_requests", f"An engine answers at least 1 request at once, not {batch}.")
        changed = replace(self.spec.options, max_concurrent_requests=batch, max_queued_requests=options.max_queued_requests)
        self.spec = replace(self.spec, options=changed)
        self._bound.resize(_most_held(changed))
        self._resized(batch)

    async def stop(self) -> None:
        """End the model's thread and every stream; requests still running end without another word."""
        if self._thread is not None:
            self._thread.stop()
            await asyncio.to_thread(self._thread.join)
        if self._in_use is not None:
            self._in_use.release()
        for outbox in self._outboxes.values():
            outbox.close()
        self._encoder.shutdown(wait=False, cancel_futures=True)

    async def _model(self) -> ModelT:
        if self._loaded is None:
            self._start_loading()
        assert self._loaded is not None
        return await asyncio.shield(self._loaded)

    def _start_loading(self) -> None:
        loop = asyncio.get_running_loop()
        self._loaded = loop.create_future()
        self._in_use = FolderLock(self.spec.model.path)  # before anything of it is read
        began = monotonic()

        def loaded(model: ModelT) -> None:
            loop.call_soon_threadsafe(self._on_loaded, model, monotonic() - began)

        def failed(error: Exception) -> None:
            loop.call_soon_threadsafe(self._on_load_failed, error)

        def broke(error: Exception) -> None:
            loop.call_soon_threadsafe(self._on_broke, error)

        self._thread = self._new_thread(Loading(loaded, failed, broke))
        self._thread.start()

    def _check_open(self) -> None:
        """Raise `EngineError` where no more jobs are taken."""
        if self._retired:
            raise EngineError(self.spec.model.model_id, "it takes no more requests")

    def _check_unbroken(self) -> None:
        """Raise `EngineError` where nothing goes on."""
        if self._broken is not None:
            raise EngineError(self.spec.model.model_id, self._broken)

    def _check_room(self) -> None:
        """Raise `QueueFullError` where as many requests wait as may."""
        held = self._held()
        retry_after = self._bound.retry_after(held, monotonic())
        if retry_after is not None:
            waiting = held - self.spec.options.max_concurrent_requests
            raise QueueFullError(self.spec.model.model_id, waiting, retry_after)

    def _on_loaded(self, model: ModelT, seconds: float) -> None:
        assert self._loaded is not None
        self._load_seconds = seconds
        self._device_bytes = model.device_bytes
        self._ready(model)
        self._occupancy.loaded()
        _log.info("loaded %s on %s in %.1f s", self.spec.model.model_id, model.device, seconds)
        self._loaded.set_result(model)

    def _on_load_failed(self, error: Exception) -> None:
        assert self._loaded is not None
        _log.error("loading %s failed", self.spec.model.model_id, exc_info=error)
        self._loaded.set_exception(ModelLoadError(self.spec.model.model_id, f"{type(error).__name__}: {error}"))
        self._loaded.exception()  # it is the waiters' to report; there may be none left

    def _on_broke(self, error: Exception) -> None:
        self._broken = f"{type(error).__name__}: {error}"
        _log.critical("the engine of %s broke", self.spec.model.model_id, exc_info=error)
        self._fail_all(EngineError(self.spec.model.model_id, self._broken))
        self._send()
        for outbox in self._outboxes.values():
            outbox.close()
        self._on_broken(self._broken)

    def _send(self) -> None:
        """Let go what was put into the streams, with the latest numbers."""
        for outbox in self._outboxes.values():
            outbox.send(self._stats)


def _most_held(options: EngineOptions) -> int:
    return options.max_concurrent_requests + options.max_queued_requests
