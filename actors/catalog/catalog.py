"""The control plane: which models there are, and which engine serves which. A plain class, free of Ray."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress

from actors.catalog.discovery import discover
from actors.catalog.lifecycle import Lifecycle
from actors.contracts import CatalogConfig, EngineHost, ModelInfo, Route, RoutingTable
from actors.errors import ModelNotFoundError

_WATCH_SECONDS = 30.0  # after which a watcher gets an answer even if nothing changed


class Catalog:
    """See `actors.contracts.CatalogClient` for what it answers. Belongs to one event loop."""

    def __init__(self, config: CatalogConfig, host: EngineHost) -> None:
        self._config = config
        # From the clock, so that a catalog that was restarted never repeats a revision of its earlier life.
        self._revision = time.time_ns()
        self._change = asyncio.Event()
        self._lifecycle = Lifecycle(host, config, self._changed)

    async def start(self) -> None:
        """Rebuild the state from the disk and from the engines that are alive."""
        await self._lifecycle.adopt()

    async def models(self) -> Sequence[ModelInfo]:
        """Every model on disk, by id."""
        return tuple((await self._discover()).values())

    async def route(self, model_id: str, gone: str | None = None) -> Route:
        """The engine that serves a model, loaded if need be."""
        models = await self._discover()
        if model_id not in models:
            raise ModelNotFoundError(model_id, list(models))
        return await self._lifecycle.route(models[model_id], gone)

    async def watch(self, revision: int) -> RoutingTable:
        """The routing table once its revision differs from `revision`; the same one after half a minute."""
        if revision == self._revision:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._change.wait(), _WATCH_SECONDS)
        return RoutingTable(self._revision, self._lifecycle.routes(), self._lifecycle.statuses())

    async def stop(self) -> None:
        """Kill every engine."""
        await self._lifecycle.stop()

    async def _discover(self) -> dict[str, ModelInfo]:
        return await asyncio.to_thread(discover, self._config.model_dirs)

    def _changed(self) -> None:
        self._revision += 1
        self._change.set()
        self._change = asyncio.Event()
