"""By which names this server may be called from a browser: a page whose host name was pointed here has no business here."""

import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus

from fastapi import Request

from omlx.api.errors import RequestError


def own_host(others: Iterable[str] = ()) -> Callable[[Request], Awaitable[None]]:
    """A route's dependency. It raises `RequestError` for a `Host` that is neither an address nor a name of this machine.

    Whoever owns a host name can have it lead to this machine's address, and a browser then takes the owner's page and this server
    for one site.

    Args:
        others: Names that are as good, such as a reverse proxy's; without ports.
    """
    name = socket.gethostname().lower()
    known = {"localhost", name, f"{name.partition('.')[0]}.local", *(each.lower() for each in others)}

    async def check(request: Request) -> None:
        host = _name(request.headers.get("host", ""))
        if host and host not in known and not host.endswith(".localhost") and not _is_address(host):
            raise RequestError(
                f"This server isn't known as {host!a}. If it is to be, add the name to the setting admin_hosts.",
                code="foreign_host",
                status=HTTPStatus.FORBIDDEN,
            )

    return check


def _name(host: str) -> str:
    """A `Host` header's value without its port, in small letters; an address of version 6 keeps no brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower().rstrip(".")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
