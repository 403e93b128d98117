"""Every error as OpenAI's clients expect it, or Anthropic's where those ask, from one table."""

import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Scope

from actors.errors import (
    CatalogError,
    ContextLengthError,
    EngineError,
    InsufficientMemoryError,
    InvalidJobError,
    InvalidSettingError,
    ModelLoadError,
    ModelNotFoundError,
    OmlxError,
    QueueFullError,
    RequestTimeoutError,
    StaleRevisionError,
    WrongModelTypeError,
)
from omlx.access.errors import (
    AccessFileError,
    AttemptsError,
    InvalidKeyError,
    InvalidPasswordError,
    LimitError,
    NoKeyError,
    NotAdminError,
    NotSignedInError,
    UnknownKeyError,
    WrongSecretError,
)
from omlx.api.anthropic_errors import anthropic_error, speaks_anthropic
from omlx.api.openai import ErrorDetail, ErrorResponse
from omlx.record import record_of
from omlx.removal import ModelInUseError, RemovalError

CLIENT_GONE = 499  # nobody reads it; it counts in the metrics
_INVALID = "invalid_request_error"
_SERVER = "server_error"
_LIMIT = "rate_limit_error"
_AUTHENTICATION = "authentication_error"
_log = logging.getLogger(__name__)


class RequestError(OmlxError):
    """A request is refused before an engine sees it.

    Args:
        message: Why, for the client.
        param: The field to blame, as a dotted path.
        code: A word for programs.
        status: The HTTP status.
    """

    def __init__(
        self, message: str, *, param: str | None = None, code: str = "invalid_value", status: int = HTTPStatus.BAD_REQUEST
    ) -> None:
        self.param = param
        self.code = code
        self.status = status
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Kind:
    """How a class of errors is told.

    Attributes:
        type: Whose fault it is.
        code: A word for programs.
        headers: Whether and when to try again, as openai-python reads it.
    """

    status: int
    type: str
    code: str
    headers: Mapping[str, str] = field(default_factory=dict)


ERRORS: Mapping[type[OmlxError], Kind] = {
    ModelNotFoundError: Kind(404, _INVALID, "model_not_found"),
    ContextLengthError: Kind(400, _INVALID, "context_length_exceeded"),
    InvalidJobError: Kind(400, _INVALID, "invalid_value"),
    WrongModelTypeError: Kind(400, _INVALID, "wrong_model_type"),
    InvalidSettingError: Kind(400, _INVALID, "invalid_setting"),
    StaleRevisionError: Kind(409, _INVALID, "stale_revision", {"x-should-retry": "false"}),
    ModelInUseError: Kind(409, _INVALID, "model_in_use", {"x-should-retry": "false"}),
    RemovalError: Kind(500, _SERVER, "removal_failed", {"x-should-retry": "false"}),
    NoKeyError: Kind(401, _AUTHENTICATION, "invalid_api_key", {"www-authenticate": "Bearer"}),
    NotSignedInError: Kind(401, _AUTHENTICATION, "not_signed_in"),
    WrongSecretError: Kind(401, _AUTHENTICATION, "wrong_secret"),
    NotAdminError: Kind(403, "permission_error", "permission_denied"),
    AttemptsError: Kind(429, _LIMIT, "too_many_attempts"),
    LimitError: Kind(429, _LIMIT, "rate_limit_exceeded"),
    InvalidKeyError: Kind(400, _INVALID, "invalid_key"),
    UnknownKeyError: Kind(404, _INVALID, "key_not_found"),
    InvalidPasswordError: Kind(400, _INVALID, "invalid_password"),
    AccessFileError: Kind(500, _SERVER, "access_file_failed", {"x-should-retry": "false"}),
    QueueFullError: Kind(429, _LIMIT, "queue_full"),
    RequestTimeoutError: Kind(504, _SERVER, "request_timeout", {"x-should-retry": "false"}),
    ModelLoadError: Kind(503, _SERVER, "model_load_failed", {"x-should-retry": "false"}),
    InsufficientMemoryError: Kind(507, _SERVER, "insufficient_memory", {"x-should-retry": "false"}),
    EngineError: Kind(503, _SERVER, "engine_died", {"retry-after": "1"}),
    CatalogError: Kind(503, _SERVER, "catalog_unavailable", {"retry-after": "1"}),
}
_UNEXPECTED = Kind(500, _SERVER, "internal_error")


@dataclass(frozen=True, slots=True)
class Reply:
    """An error on its way to the client.

    Attributes:
        told: How it is told where it isn't in OpenAI's form.
    """

    kind: Kind
    message: str
    param: str | None = None
    told: BaseModel | None = None

    def body(self) -> BaseModel:
        """What the client reads."""
        return self.told or ErrorResponse(
            error=ErrorDetail(message=self.message, type=self.kind.type, param=self.param, code=self.kind.code)
        )

    def response(self) -> Response:
        """The error as a whole answer."""
        return Response(self.body().model_dump_json(), self.kind.status, dict(self.kind.headers), media_type="application/json")


def request_id(scope: Scope) -> str:
    """The id that the request's answer carries in `x-request-id`."""
    return str(scope.get("omlx.request_id", "unknown"))


def reply_to(error: Exception, scope: Scope) -> Reply:
    """What to tell a client, which its request's record notes. An error that nothing foresaw is logged, and told without details."""
    reply = _reply(error, scope)
    record_of(scope).error = reply.kind.code
    return _told(reply, error, scope)


def _told(reply: Reply, error: Exception, scope: Scope) -> Reply:
    """The same in the form that the request's route speaks."""
    if not speaks_anthropic(scope):
        return reply
    return replace(reply, told=anthropic_error(error, reply.kind.status, reply.message, request_id(scope)))


def _reply(error: Exception, scope: Scope) -> Reply:
    if isinstance(error, RequestError):
        return Reply(Kind(error.status, _INVALID, error.code), str(error), error.param)
    for known in type(error).__mro__:
        if known in ERRORS:
            return Reply(_timed(ERRORS[known], error), str(error), _param(error))
    _log.error("the request failed", exc_info=error, extra={"request_id": request_id(scope)})
    return Reply(_UNEXPECTED, f"The server failed in a way it did not foresee. Its log says more under {request_id(scope)}.")


def _timed(kind: Kind, error: Exception) -> Kind:
    """The kind, with the time to try again where the error itself knows it."""
    if isinstance(error, QueueFullError | LimitError):
        return replace(kind, headers={"retry-after": str(error.retry_after)})
    return kind


def _param(error: Exception) -> str | None:
    if isinstance(error, InvalidJobError):
        return error.param
    if isinstance(error, InvalidSettingError):
        return error.name
    return "model" if isinstance(error, ModelNotFoundError | WrongModelTypeError) else None


async def _known(request: Request, error: Exception) -> Response:
    return reply_to(error, request.scope).response()


async def _gone(request: Request, _error: Exception) -> Response:
    record = record_of(request.scope)
    record.error = "client_gone"
    if record.for_model:
        record.finish_reason = "abort"
    return Response(status_code=CLIENT_GONE)


async def _http(request: Request, error: HTTPException) -> Response:
    """Starlette's own: an unknown URL, a wrong method."""
    asked = f"{request.method} {request.url.path}"
    codes = {
        404: ("unknown_url", f"There is nothing at {asked}."),
        405: ("method_not_allowed", f"{asked} is not possible with this method."),
    }
    code, message = codes.get(error.status_code, ("http_error", str(error.detail)))
    record_of(request.scope).error = code
    reply = Reply(Kind(error.status_code, _INVALID, code, error.headers or {}), message)
    return _told(reply, error, request.scope).response()


HANDLERS: Mapping[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]] = {
    OmlxError: _known,
    HTTPException: _http,
    ClientDisconnect: _gone,
}
