"""What a request says of who sends it: keys, a session, an address."""

import ipaddress

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import Scope

_BEARER = "bearer "
_STRANGER = "omlx.stranger"  # in a scope


def secrets_of(headers: Headers) -> list[str]:
    """The API keys that a request has: as OpenAI's clients send them, and as Anthropic's do."""
    bearer = headers.get("authorization", "")
    found = [bearer[len(_BEARER) :].strip()] if bearer.lower().startswith(_BEARER) else []
    return [secret for secret in (*found, headers.get("x-api-key", "").strip()) if secret]


def session_of(scope: Scope) -> str | None:
    """What a browser sends of its session."""
    return cookie_parser(Headers(scope=scope).get("cookie", "")).get(cookie_name(scope))


def cookie_name(scope: Scope) -> str:
    """The session's cookie. Browsers send a host's cookies to each of its ports, so each has a name of its own."""
    return f"omlx_session_{(scope.get('server') or ('', 0))[1]}"


def address_of(scope: Scope) -> str:
    """Where a request comes from: behind a proxy on this machine, as that says."""
    return str((scope.get("client") or ("unknown", 0))[0])


def as_stranger(scope: Scope) -> Scope:
    """The scope of a request whose sender may ask for what is open alone."""
    return {**scope, _STRANGER: True}


def is_stranger(scope: Scope) -> bool:
    """Whether that is so."""
    return _STRANGER in scope


def is_local(scope: Scope) -> bool:
    """Whether a request comes from this machine."""
    return is_loopback(address_of(scope))


def is_loopback(address: str) -> bool:
    """Whether an address leads from this machine to itself alone; a name doesn't."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return found.is_loopback or (found.version == 6 and found.ipv4_mapped is not None and found.ipv4_mapped.is_loopback)
