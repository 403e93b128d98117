"""Which model a request is for, and whether it is one for that."""

from collections.abc import Mapping

from fastapi import HTTPException

from actors.control import Served
from actors.errors import ModelNotFoundError, WrongModelTypeError
from actors.models import ModelType
from omlx.api.errors import RequestError
from omlx.api.ports import Services

_OTHER_ENDPOINTS: Mapping[ModelType, str] = {ModelType.EMBEDDING: "/v1/embeddings", ModelType.RERANKER: "/v1/rerank"}


async def generating_model(services: Services, name: str, endpoint: str) -> Served:
    """The model that is to answer with text.

    Args:
        services: Who finds it.
        name: Its id or alias; empty for the default model.
        endpoint: What was asked, for an error.

    Raises `RequestError` where no model is named and none is the default, `ModelNotFoundError` or `WrongModelTypeError`.
    """
    try:
        served = await services.find(name)
    except ModelNotFoundError as error:
        if name:
            raise
        raise RequestError(
            "Missing required parameter: 'model'. No model is set as the default.",
            param="model",
            code="missing_required_parameter",
        ) from error
    kind = served.model.type
    if kind in _OTHER_ENDPOINTS:
        raise WrongModelTypeError(served.name, kind, endpoint, _OTHER_ENDPOINTS[kind])
    return served


async def named_model(services: Services, name: str) -> Served:
    """The model that a path names, by id or alias. Raises `ModelNotFoundError`, or `HTTPException` for no name at all."""
    if not name:  # the default model is for requests that say nothing of a model
        raise HTTPException(404)
    return await services.find(name)
