"""`/v1/models`: which models there are, and what is loaded."""

from typing import Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from actors.control import Served
from omlx.api.asked_model import named_model
from omlx.api.body import read_options
from omlx.api.capabilities import CAPABILITIES
from omlx.api.model_status import CatalogShown, ModelShown, catalog_shown, model_shown
from omlx.api.openai import ErrorResponse, Model, ModelList
from omlx.api.ports import Services
from omlx.api.same_origin import same_origin


class UnloadOptions(BaseModel):
    """How a model is unloaded: `cancel` ends its requests instead of waiting for them."""

    cancel: bool = False


_CANCEL: dict[str, Any] = {
    "parameters": [{"name": "cancel", "in": "query", "required": False, "schema": {"type": "boolean", "default": False}}],
    "requestBody": {"required": False, "content": {"application/json": {"schema": UnloadOptions.model_json_schema()}}},
}


def model_routes(services: Services) -> APIRouter:
    """The routes, given who knows the models."""
    router = APIRouter(
        tags=["OpenAI"],
        responses={"default": {"model": ErrorResponse, "description": "An error"}},
        dependencies=[Depends(same_origin)],
    )

    @router.get("/v1/models")
    async def list_models() -> ModelList:
        """Every model on disk that isn't hidden, by the name to ask for it."""
        return ModelList(data=[_model(served) for served in await services.catalog.served() if not served.is_hidden])

    @router.get("/v1/models/status", tags=["Operation"])
    async def show_status() -> CatalogShown:
        """Every model on disk and what became of it, the folders that can't be served and why, and the memory."""
        return catalog_shown(await services.catalog.status())

    # An id may have slashes, as those of Hugging Face do.
    @router.post("/v1/models/{model_id:path}/load", tags=["Operation"])
    async def load_model(model_id: str) -> ModelShown:
        """Load a model, though its last load may have failed; its status once it is loaded."""
        found = await named_model(services, model_id)
        await services.catalog.load(found.model_id)
        return model_shown(await services.catalog.status(), found.model_id)

    @router.post("/v1/models/{model_id:path}/unload", tags=["Operation"], openapi_extra=_CANCEL)
    async def unload_model(model_id: str, http: Request) -> ModelShown:
        """Unload a model once its requests have ended, or end them with `cancel`; its status once it is unloaded."""
        options = await read_options(http, UnloadOptions)
        found = await named_model(services, model_id)
        await services.catalog.unload(found.model_id, cancel=options.cancel)
        return model_shown(await services.catalog.status(), found.model_id)

    @router.get("/v1/models/{model_id:path}")
    async def retrieve_model(model_id: str) -> Model:
        """One model, hidden or not."""
        return _model(await named_model(services, model_id))

    return router


def _model(served: Served) -> Model:
    kind = served.model.type
    return Model(id=served.name, created=served.model.created, type=kind, capabilities=CAPABILITIES[kind])
