"""Which model a request is for, and whether it is one for that."""

from fastapi import HTTPException

from actors.control import Served
from actors.errors import ModelNotFoundError, WrongModelTypeError
from omlx.api.capabilities import CAPABILITIES, ENDPOINTS, endpoint_for
from omlx.api.errors import RequestError
from omlx.api.ports import Services


async def asked_model(services: Services, name: str, endpoint: str) -> Served:
    """The model that is to answer.

    Args:
        services: Who finds it.
        name: Its id or alias; empty for the default model.
        endpoint: What was asked, one of `omlx.api.capabilities.ENDPOINTS`.

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
    if ENDPOINTS[endpoint] not in CAPABILITIES[kind]:
        raise WrongModelTypeError(served.name, kind, endpoint, endpoint_for(kind))
    return served


async def named_model(services: Services, name: str) -> Served:
    """The model that a path names, by id or alias. Raises `ModelNotFoundError`, or `HTTPException` for no name at all."""
    if not name:  # the default model is for requests that say nothing of a model
        raise HTTPException(404)
    return await services.find(name)
