"""`DELETE /admin/api/models/…`: how a model is removed while the server runs."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from omlx.api.asked_model import named_model
from omlx.api.body import read_options
from omlx.api.openai import ErrorResponse
from omlx.api.ports import Services
from omlx.api.same_origin import same_origin
from omlx.removal import ModelInUseError, remove_model


class RemovalOptions(BaseModel):
    """How a model is removed: `force` unloads it first, ending its requests with an error."""

    force: bool = False


class Removed(BaseModel):
    """What OpenAI answers when a model is deleted."""

    id: str
    object: Literal["model"] = "model"
    deleted: bool = True


_FORCE: dict[str, Any] = {
    "parameters": [{"name": "force", "in": "query", "required": False, "schema": {"type": "boolean", "default": False}}],
    "requestBody": {"required": False, "content": {"application/json": {"schema": RemovalOptions.model_json_schema()}}},
}


def removal_routes(services: Services, roots: Sequence[Path]) -> APIRouter:
    """The route, given who knows the models, and the folders that they are looked for in."""
    catalog = services.catalog
    router = APIRouter(
        tags=["Administration"],
        responses={"default": {"model": ErrorResponse, "description": "An error"}},
        dependencies=[Depends(same_origin)],
    )

    # An id may have slashes, as those of Hugging Face do.
    @router.delete("/admin/api/models/{model_id:path}", openapi_extra=_FORCE)
    async def remove(model_id: str, http: Request) -> Removed:
        """Remove a model from the disk for good; refused while it is loaded, unless forced."""
        options = await read_options(http, RemovalOptions)
        served = await named_model(services, model_id)
        if options.force:
            await catalog.unload(served.model_id, cancel=True)
        elif any(status.engines for status in (await catalog.status()).models if status.served.model_id == served.model_id):
            raise ModelInUseError(served.model_id)
        await asyncio.to_thread(remove_model, served.model.path, roots, force=options.force)
        await catalog.refresh()
        return Removed(id=served.model_id)

    return router
