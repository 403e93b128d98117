"""A catalog of models that nobody has on disk: it keeps settings, loads in no time, and says what it was asked for."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from actors.contracts import EngineInfo, Route
from actors.control import CatalogStatus, EngineStatus, MemoryStatus, ModelStatus, RoutingTable, Served, SettingsView
from actors.errors import InvalidSettingError, ModelNotFoundError, StaleRevisionError
from actors.models import ModelInfo, ModelType, Skipped
from actors.settings import GLOBAL_SETTINGS, MODEL_SETTINGS


def served(model_id: str, type_: ModelType = ModelType.LLM, **fields: Any) -> Served:
    """A model as it is served: by its id, unless there is a `name` among the fields."""
    folder = Path("/models") / model_id
    model = ModelInfo(model_id, folder, type_, "llama", 1000, context_length=128, created=1_700_000_000, revision="r1")
    return Served(model, **{"name": model_id, **fields})


class FakeCatalog:
    """See `actors.control.CatalogClient`.

    Args:
        models: What is there.
        skipped: Folders that can't be served.
        refusal: What loading raises.
    """

    def __init__(self, models: Sequence[Served] = (), skipped: Sequence[Skipped] = (), refusal: Exception | None = None) -> None:
        self.models = {model.model_id: model for model in models}
        self.skipped = tuple(skipped)
        self.refusal = refusal
        self.calls: list[tuple[object, ...]] = []
        self.loaded: dict[str, EngineStatus] = {}
        self.values: dict[str | None, dict[str, Any]] = {}
        self.table = RoutingTable(0)
        self._news = asyncio.Event()
        self._changes = 0
        self._started = 0

    def publish(self, table: RoutingTable) -> None:
        """Give those who watch another table."""
        self.table = table
        self._news.set()
        self._news = asyncio.Event()

    async def served(self) -> Sequence[Served]:
        return tuple(self.models.values())

    async def find(self, name: str) -> Served:
        self.calls.append(("find", name))
        found = RoutingTable(1, served=self.models).find(name)
        if found is None:
            raise ModelNotFoundError(name, tuple(model.name for model in self.models.values()))
        return found

    async def route(self, name: str, gone: str | None = None) -> Route:
        self.calls.append(("route", name, gone))
        model_id = (await self._load(name, gone)).model_id
        return Route(model_id, self.loaded[model_id].engine_id)

    async def watch(self, revision: int) -> RoutingTable:
        while self.table.revision == revision:
            await self._news.wait()
        return self.table

    async def status(self) -> CatalogStatus:
        models = tuple(self._status(model) for model in self.models.values())
        return CatalogStatus(models, self.skipped, MemoryStatus(4000, 1100 * len(self.loaded), 1000 * len(self.loaded)))

    async def refresh(self) -> CatalogStatus:
        self.calls.append(("refresh",))
        return await self.status()

    async def load(self, name: str) -> None:
        self.calls.append(("load", name))
        await self._load(name)

    async def unload(self, name: str, *, cancel: bool = False) -> None:
        self.calls.append(("unload", name, cancel))
        self.loaded.pop((await self.find(name)).model_id, None)

    async def settings(self, name: str | None = None) -> SettingsView:
        key = name and (await self.find(name)).model_id
        return SettingsView(self.values.get(key, {}), f"s{self._changes}")

    async def change_settings(self, name: str | None, changes: Mapping[str, Any], revision: str | None) -> SettingsView:
        before = await self.settings(name)
        for each in changes:
            if each not in (MODEL_SETTINGS if name else GLOBAL_SETTINGS):
                raise InvalidSettingError(each, f"There is no setting '{each}'.")
        if revision not in (None, before.revision):
            raise StaleRevisionError(str(revision), before.revision)
        merged = {**before.values, **changes}
        self.values[name] = {each: value for each, value in merged.items() if value is not None}
        self._changes += 1
        return await self.settings(name)

    async def _load(self, name: str, gone: str | None = None) -> Served:
        model = await self.find(name)
        if self.refusal is not None:
            raise self.refusal
        if model.model_id not in self.loaded or self.loaded[model.model_id].engine_id == gone:
            self._started += 1
            engine_id = f"{model.model_id}-{self._started}"
            info = EngineInfo(engine_id, model.model_id, 4711, "cpu", 128, 0.5)
            self.loaded[model.model_id] = EngineStatus(
                model.model_id, engine_id, "ready", info=info, ready_seconds=7.0, max_concurrent_requests=8
            )
        return model

    def _status(self, model: Served) -> ModelStatus:
        engine = self.loaded.get(model.model_id)
        status = ModelStatus(model, estimated_bytes=1100, state="unloaded")
        return replace(status, state=engine.state, engines=(engine,), memory_bytes=1000, idle_seconds=2.0) if engine else status
