"""Errors as Anthropic's clients expect them."""

from http import HTTPStatus

from starlette.types import Scope

from actors.errors import ContextLengthError
from omlx.api.anthropic import AnthropicError, AnthropicErrorDetail

_ROUTES = "/v1/messages"
_TYPES = {
    HTTPStatus.UNAUTHORIZED: "authentication_error",
    HTTPStatus.FORBIDDEN: "permission_error",
    HTTPStatus.NOT_FOUND: "not_found_error",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "request_too_large",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
    HTTPStatus.SERVICE_UNAVAILABLE: "overloaded_error",
    HTTPStatus.GATEWAY_TIMEOUT: "timeout_error",
}


def speaks_anthropic(scope: Scope) -> bool:
    """Whether a request is one for Anthropic's routes."""
    path: str = scope["path"]
    return path == _ROUTES or path.startswith(f"{_ROUTES}/")


def anthropic_error(error: Exception, status: int, message: str, request_id: str) -> AnthropicError:
    """An error as these routes tell it."""
    if isinstance(error, ContextLengthError):
        # In Anthropic's own words, by which Claude Code knows that it has to shorten the conversation.
        message = f"prompt is too long: {error.prompt_tokens} tokens > {error.context_length} maximum"
    known = _TYPES.get(HTTPStatus(status))
    kind = known or ("api_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error")
    return AnthropicError(error=AnthropicErrorDetail(type=kind, message=message), request_id=request_id)
