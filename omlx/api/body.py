"""Reads a request's JSON body, whatever its content type says, and says what is wrong with it in a client's words."""

import json
from collections.abc import Sequence
from typing import Any, TypeVar

import orjson
from fastapi import Request
from pydantic import BaseModel, ValidationError
from pydantic.json_schema import models_json_schema
from pydantic_core import ErrorDetails

from omlx.api.errors import RequestError
from omlx.api.openai import AT_ODDS, UNSUPPORTED, ErrorResponse

_REF = "#/components/schemas/{model}"
_SHOWN = 60  # characters of a wrong value that an error repeats

Body = TypeVar("Body", bound=BaseModel)


async def read_body(request: Request, model: type[Body]) -> Body:
    """The request's body as a model. Raises `RequestError` naming the first field that is wrong."""
    return _checked(await _json(request), model)


async def read_options(request: Request, model: type[Body]) -> Body:
    """What a request says in its query string, or in its body if it has one, which wins. Raises as `read_body` does."""
    data = await _json(request) if await request.body() else {}
    return _checked({**request.query_params, **data} if isinstance(data, dict) else data, model)


async def _json(request: Request) -> Any:
    try:
        return orjson.loads(await request.body())
    except orjson.JSONDecodeError as error:
        raise RequestError(f"The request's body is not valid JSON: {error}.", code="invalid_json") from error


def _checked(data: Any, model: type[Body]) -> Body:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise _refusal(error.errors(include_url=False)[0], data) from error


def documented(request: type[BaseModel], answer: type[BaseModel], error: type[BaseModel] = ErrorResponse) -> dict[str, Any]:
    """What a route that uses `read_body` tells OpenAPI: its body's model, which `schemas` defines, and its answers."""
    schema = {"$ref": _REF.format(model=request.__name__)}
    return {
        "openapi_extra": {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}},
        "response_model": None,
        "responses": {200: {"model": answer}, "default": {"model": error, "description": "An error"}},
    }


def queried(options: type[BaseModel]) -> dict[str, Any]:
    """What a route that reads its query with `read_options` tells OpenAPI of it."""
    schema = options.model_json_schema()
    required = schema.get("required", ())
    properties = schema["properties"].items()
    return {"parameters": [{"name": name, "in": "query", "required": name in required, "schema": of} for name, of in properties]}


def schemas(requests: Sequence[type[BaseModel]]) -> dict[str, Any]:
    """The definitions of request models, by name, for OpenAPI's components."""
    _, found = models_json_schema([(model, "validation") for model in requests], ref_template=_REF)
    definitions: dict[str, Any] = found["$defs"]
    return definitions


def _refusal(detail: ErrorDetails, body: Any) -> RequestError:
    kind = detail["type"]
    param = _field(detail["loc"], body) or None
    if kind == AT_ODDS:
        return RequestError(detail["msg"], param=detail["ctx"]["name"], code="invalid_value")
    if kind == UNSUPPORTED:
        return RequestError(detail["msg"], param=param, code=kind)
    if kind == "missing":
        return RequestError(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")
    if kind in ("model_type", "model_attributes_type"):
        return RequestError(f"{_subject(param)} should be a JSON object.", param=param, code="invalid_type")
    if kind == "too_short":
        return RequestError(f"'{param}' is empty; at least one item is needed.", param=param, code="invalid_value")
    reason = detail["msg"][0].lower() + detail["msg"][1:]
    code = "invalid_type" if kind.endswith(("_type", "_parsing")) else "invalid_value"
    return RequestError(f"Invalid '{param}': {reason}{_instead(detail['input'])}.", param=param, code=code)


def _subject(param: str | None) -> str:
    return f"'{param}'" if param else "The request's body"


def _field(location: Sequence[int | str], body: Any) -> str:
    """A location as the client knows it: the steps that lead into its body, without pydantic's names of alternatives."""
    steps = []
    for place, step in enumerate(location, 1):
        if isinstance(body, dict) and (step in body or place == len(location)):
            steps.append(str(step))
            body = body.get(step)
        elif isinstance(body, list) and isinstance(step, int):
            steps.append(str(step))
            body = body[step] if step < len(body) else None
    return ".".join(steps)


def _instead(value: Any) -> str:
    if not isinstance(value, str | int | float):
        return ""
    shown = json.dumps(value, ensure_ascii=False)
    return f", not {shown if len(shown) <= _SHOWN else shown[:_SHOWN] + '…'}"
