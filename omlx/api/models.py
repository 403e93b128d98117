"""`GET /v1/models`: which models requests may name."""

from fastapi import APIRouter

from actors.contracts import ModelInfo
from actors.errors import ModelNotFoundError
from omlx.api.openai import ErrorResponse, Model, ModelList
from omlx.api.ports import Services


def model_routes(services: Services) -> APIRouter:
    """The routes, given who knows the models."""
    router = APIRouter(tags=["OpenAI"], responses={"default": {"model": ErrorResponse, "description": "An error"}})

    @router.get("/v1/models")
    async def list_models() -> ModelList:
        """Every model on disk."""
        return ModelList(data=[_model(info) for info in await services.models()])

    # An id may have slashes, as those of Hugging Face do.
    @router.get("/v1/models/{model_id:path}")
    async def retrieve_model(model_id: str) -> Model:
        """One model."""
        models = {info.model_id: info for info in await services.models()}
        if model_id not in models:
            raise ModelNotFoundError(model_id, tuple(models))
        return _model(models[model_id])

    return router


def _model(info: ModelInfo) -> Model:
    return Model(id=info.model_id, created=info.created)
