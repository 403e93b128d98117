"""`/admin/api`: models and settings, to be seen and changed while the server runs."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict

from actors.control import SettingsView
from actors.settings import GLOBAL_SETTINGS, MODEL_SETTINGS, Effect, Form, Setting
from omlx.api.asked_model import named_model
from omlx.api.body import documented, read_body
from omlx.api.model_status import CatalogShown, catalog_shown
from omlx.api.openai import ErrorResponse
from omlx.api.ports import Services
from omlx.api.same_origin import same_origin

_MODEL_SETTINGS_PATH = "/admin/api/models/{model_id:path}/settings"  # an id may have slashes
_GLOBAL_SETTINGS_PATH = "/admin/api/settings"


class SettingsChange(BaseModel):
    """The settings to change, by name, null for those to reset; the others stay as they are."""

    model_config = ConfigDict(extra="allow")

    revision: str


class SettingsShown(BaseModel):
    """Every setting by name, null where nothing is set, and the revision to change them at."""

    model_config = ConfigDict(extra="allow")

    revision: str


class SettingShown(BaseModel):
    """What a setting is; `takes` says its values in words."""

    name: str
    form: Form
    help: str
    effect: Effect
    default: Any
    least: float | None
    most: float | None
    above: float | None
    takes: str
    choices: tuple[str, ...]


def admin_routes(services: Services) -> APIRouter:
    """The routes, given who knows the models and their settings."""
    catalog = services.catalog
    router = APIRouter(
        tags=["Administration"],
        responses={"default": {"model": ErrorResponse, "description": "An error"}},
        dependencies=[Depends(same_origin)],
    )

    @router.get("/admin/api/models")
    async def show_models() -> CatalogShown:
        """The same as `/v1/models/status`."""
        return catalog_shown(await catalog.status())

    @router.post("/admin/api/models/refresh")
    async def refresh_models() -> CatalogShown:
        """Read everything on disk anew, and show it."""
        return catalog_shown(await catalog.refresh())

    @router.get(_MODEL_SETTINGS_PATH)
    async def show_model_settings(model_id: str) -> SettingsShown:
        """A model's settings."""
        found = await named_model(services, model_id)
        return _shown(MODEL_SETTINGS, await catalog.settings(found.model_id))

    @router.patch(_MODEL_SETTINGS_PATH, **documented(SettingsChange, SettingsShown))
    async def change_model_settings(model_id: str, http: Request) -> SettingsShown:
        """Set and reset some settings of a model; all of them as they are then."""
        change = await read_body(http, SettingsChange)
        found = await named_model(services, model_id)
        view = await catalog.change_settings(found.model_id, change.model_extra or {}, change.revision)
        return _shown(MODEL_SETTINGS, view)

    @router.get(_GLOBAL_SETTINGS_PATH)
    async def show_settings() -> SettingsShown:
        """The global settings."""
        return _shown(GLOBAL_SETTINGS, await catalog.settings())

    @router.patch(_GLOBAL_SETTINGS_PATH, **documented(SettingsChange, SettingsShown))
    async def change_settings(http: Request) -> SettingsShown:
        """Set and reset some global settings; all of them as they are then."""
        change = await read_body(http, SettingsChange)
        return _shown(GLOBAL_SETTINGS, await catalog.change_settings(None, change.model_extra or {}, change.revision))

    @router.get("/admin/api/settings/schema")
    async def describe_settings() -> dict[str, list[SettingShown]]:
        """Every setting that there is: `global` and `model`."""
        return {"global": _described(GLOBAL_SETTINGS), "model": _described(MODEL_SETTINGS)}

    return router


def _shown(table: Mapping[str, Setting], view: SettingsView) -> SettingsShown:
    return SettingsShown(revision=view.revision, **{name: view.values.get(name) for name in table})


def _described(table: Mapping[str, Setting]) -> list[SettingShown]:
    return [SettingShown(**asdict(setting), takes=setting.takes) for setting in table.values()]
