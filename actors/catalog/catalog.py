"""The control plane: which models there are, how they are served, and by which engines. A plain class, free of Ray."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from actors.catalog.clock import Clock, SystemClock
from actors.catalog.discovery import Discovery
from actors.catalog.event_log import EventLog
from actors.catalog.lifecycle import Lifecycle
from actors.catalog.memory import Machine, base_bytes, this_machine
from actors.catalog.serving import check_alias, serve_all
from actors.catalog.settings_store import SettingsStore
from actors.catalog.wanted import Wanted, limits_of, wanted_of
from actors.contracts import EngineHost, Route
from actors.control import CatalogConfig, CatalogStatus, LifeEvent, ModelStatus, RoutingTable, Served, SettingsView
from actors.errors import ModelNotFoundError
from actors.folder_revision import is_current as folder_is_current
from actors.models import Inventory, ModelInfo

_log = logging.getLogger(__name__)
_WATCH_SECONDS = 30.0  # after which a watcher gets an answer even if nothing changed
_TICK_SECONDS = 1.0


class Disk(Protocol):
    """What knows the models on disk; see `actors.catalog.discovery.Discovery`."""

    def scan(self) -> Inventory: ...

    def refresh(self) -> Inventory: ...


class Catalog:
    """See `actors.control.CatalogClient` for what it answers. Belongs to one event loop; `start` before use.

    Args:
        config: What it is started with. Settings are read at once, and the machine is asked for its memory, which may block.
        host: Starts, finds and kills engines.
        disk: Where the models are; by default, where `config` says.
        is_current: Whether a model's folder is still as it was found; may block.
        machine: What models are loaded into; by default, this machine.
    """

    def __init__(
        self,
        config: CatalogConfig,
        host: EngineHost,
        *,
        disk: Disk | None = None,
        is_current: Callable[[ModelInfo], bool] = folder_is_current,
        machine: Machine | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._disk = disk or Discovery(config.model_dirs, config.hf_cache)
        self._is_current = is_current
        self._store = SettingsStore(config.base_path, config.overrides)
        self._machine = machine or this_machine()
        self._clock = clock or SystemClock()
        self._events = EventLog()
        self._lifecycle = Lifecycle(
            host, self._changed, self._happened, device=self._machine.device, backend=config.backend, clock=self._clock
        )
        # From the clock, so that a catalog that was restarted never repeats a revision of its earlier life.
        self._revision = time.time_ns()
        self._change = asyncio.Event()
        self._inventory = Inventory()
        self._served: Mapping[str, Served] = {}
        self._scanning = asyncio.Lock()
        self._next_scan: asyncio.Task[None] | None = None
        self._ticking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Rebuild the state from the disk and from the engines that are alive, and look after them from now on."""
        self._take(await asyncio.to_thread(self._disk.scan))
        self._served = serve_all(self._inventory, self._store)
        await self._lifecycle.start(self._wanted(), limits_of(self._store.global_values(), self._machine))
        self._ticking = asyncio.create_task(self._tick_for_ever())

    async def stop(self) -> None:
        """Kill every engine."""
        if self._ticking is not None:
            self._ticking.cancel()
        await self._lifecycle.stop()

    async def served(self) -> Sequence[Served]:
        """Every model on disk, by id."""
        await self._rescan()
        return tuple(self._served.values())

    async def find(self, name: str) -> Served:
        """A model by id or alias, the default one for an empty name."""
        await self._rescan()
        return self._find(name)

    async def route(self, name: str, gone: str | None = None) -> Route:
        """An engine that serves a model, loaded if need be."""
        return await self._lifecycle.route((await self.find(name)).model_id, gone)

    async def watch(self, revision: int) -> RoutingTable:
        """The routing table once its revision differs from `revision`; the same one after half a minute."""
        if revision == self._revision:
            with suppress(TimeoutError):
                async with asyncio.timeout(_WATCH_SECONDS):
                    await self._change.wait()
        events = self._events.since(revision)
        return RoutingTable(self._revision, self._lifecycle.routes(), self._lifecycle.statuses(), self._served, events)

    async def status(self) -> CatalogStatus:
        """Everything; the disk is looked at anew, and engines are asked what they take."""
        await asyncio.gather(self._rescan(), self._lifecycle.measure())
        return self._status()

    async def refresh(self) -> CatalogStatus:
        """The same as `status`, with everything on disk read anew."""
        async with self._scanning:
            self._adopt(*await asyncio.to_thread(self._look, self._disk.refresh))
        await self._lifecycle.measure()
        return self._status()

    async def load(self, name: str) -> None:
        """Load a model, though its last load may have failed."""
        await self._lifecycle.load((await self.find(name)).model_id)

    async def unload(self, name: str, *, cancel: bool = False) -> None:
        """Let a model's engines go; returns when they have ended."""
        await self._lifecycle.unload((await self.find(name)).model_id, cancel=cancel)

    async def settings(self, name: str | None = None) -> SettingsView:
        """A model's settings, or the global ones."""
        await self._rescan()
        return self._store.view(None if name is None else self._find(name).model_id)

    async def change_settings(self, name: str | None, changes: Mapping[str, Any], revision: str | None) -> SettingsView:
        """Set and reset (None) some settings of a model, or global ones; they hold at once."""
        model_id = None if name is None else (await self.find(name)).model_id
        alias = changes.get("model_alias")
        if model_id is not None and isinstance(alias, str):
            check_alias(alias, model_id, self._served.keys(), self._store.aliases())
        view = await asyncio.to_thread(self._store.change, model_id, changes, revision)
        self._apply()
        return view

    async def tick(self) -> None:
        """What nobody asks for: settings and folders that others changed, and what time brings to engines."""
        if await asyncio.to_thread(self._store.reread):
            self._apply()
        if not await asyncio.to_thread(self._are_current, self._looked_after()):
            await self._rescan()
        await self._lifecycle.tick()

    def _find(self, name: str) -> Served:
        found = RoutingTable(self._revision, served=self._served).find(name)
        if found is None:
            raise ModelNotFoundError(name, [served.name for served in self._served.values() if not served.is_hidden])
        return found

    def _status(self) -> CatalogStatus:
        wanted = self._wanted()
        models = tuple(self._model_status(served, wanted[model_id]) for model_id, served in self._served.items())
        return CatalogStatus(models, self._inventory.skipped, self._lifecycle.memory())

    def _model_status(self, served: Served, wanted: Wanted) -> ModelStatus:
        fleet = self._lifecycle.fleet(served.model_id)
        return ModelStatus(
            served,
            estimated_bytes=base_bytes(served.model, self._machine.device),
            state=fleet.state,
            is_pinned=wanted.is_pinned,
            engines=fleet.statuses,
            memory_bytes=sum(engine.measured for engine in fleet.engines),
            reason=fleet.reason,
            ttl_seconds=wanted.ttl_seconds,
            idle_seconds=fleet.idle_seconds(),
        )

    def _looked_after(self) -> list[ModelInfo]:
        """The models whose folders are watched: those that are loaded or should be."""
        return [
            served.model
            for model_id, served in self._served.items()
            if (fleet := self._lifecycle.fleet(model_id)).engines or (fleet.wanted is not None and fleet.wanted.is_pinned)
        ]

    def _are_current(self, models: Sequence[ModelInfo]) -> bool:
        return all(map(self._is_current, models))

    async def _rescan(self) -> None:
        """Look at the disk. Any number of callers share a look, but none that had begun before they asked."""
        if self._next_scan is None:
            self._next_scan = asyncio.create_task(self._scan())
        await asyncio.shield(self._next_scan)

    async def _scan(self) -> None:
        async with self._scanning:
            self._next_scan = None
            self._adopt(*await asyncio.to_thread(self._look, self._disk.scan))

    def _look(self, scan: Callable[[], Inventory]) -> tuple[Inventory, bool]:
        """What is on disk, and whether the settings' files have changed. Blocks."""
        return scan(), self._store.reread()

    def _adopt(self, inventory: Inventory, settings_changed: bool) -> None:
        if settings_changed or inventory != self._inventory:
            self._take(inventory)
            self._apply()

    def _take(self, inventory: Inventory) -> None:
        known = set(self._inventory.skipped)
        for each in inventory.skipped:
            if each not in known:
                _log.warning("skipping %s: %s", each.path, each.reason)
        self._inventory = inventory

    def _apply(self) -> None:
        """Have the disk and the settings hold, as they are known now."""
        served = serve_all(self._inventory, self._store)
        if served != self._served:
            self._served = served
            self._changed()
        self._lifecycle.want(self._wanted(), limits_of(self._store.global_values(), self._machine))

    def _wanted(self) -> dict[str, Wanted]:
        everything = self._store.global_values()
        return {
            model_id: wanted_of(served.model, self._store.model(model_id), everything, self._machine)
            for model_id, served in self._served.items()
        }

    async def _tick_for_ever(self) -> None:
        while True:
            await self._clock.sleep(_TICK_SECONDS)
            try:
                await self.tick()
            except Exception:
                _log.exception("the engines could not be looked after; it is tried again")

    def _happened(self, event: LifeEvent) -> None:
        self._events.add(self._revision + 1, event)
        self._changed()

    def _changed(self) -> None:
        self._revision += 1
        self._change.set()
        self._change = asyncio.Event()
