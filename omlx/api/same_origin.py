"""Keeps pages of other sites from changing anything here with the help of a visitor's browser."""

from http import HTTPStatus

from fastapi import Request
from starlette.datastructures import Headers

from omlx.api.errors import RequestError

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN = ("same-origin", "none")  # `none`: typed by the user


async def same_origin(request: Request) -> None:
    """A route's dependency. Raises as `refuse_other_sites` does."""
    refuse_other_sites(request.method, request.headers)


def refuse_other_sites(method: str, headers: Headers) -> None:
    """Raise `RequestError` for a change that a browser says is another site's wish.

    Programs that are no browsers send neither header and are not concerned.
    """
    if method in _SAFE_METHODS:
        return
    site = headers.get("sec-fetch-site")
    origin = headers.get("origin")
    # Browsers send the first to local and encrypted servers only. Behind a proxy, `host` may be another than the browser's.
    if site is not None:
        foreign = site not in _OWN
    else:
        foreign = origin is not None and origin.partition("://")[2].lower() != headers.get("host", "").lower()
    if foreign:
        raise RequestError(
            f"A page of another site ({origin or site}) may not change anything here.",
            code="cross_site",
            status=HTTPStatus.FORBIDDEN,
        )
