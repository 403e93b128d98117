"""Fetches pictures from the public internet: connects to addresses that it has checked only, and takes a bounded number of bytes.

Proxies of the environment are not used: they would resolve names themselves, and so past the check.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from urllib.parse import quote, urljoin, urlsplit

import httpcore
from httpcore import SOCKET_OPTION, AsyncNetworkBackend, AsyncNetworkStream

from omlx import __version__
from omlx.api.image_error import ImageError
from omlx.api.public_address import is_public

_INVALID_URL = "invalid_image_url"
_INVALID = "has a URL that isn't valid."
_CONNECT_SECONDS = 3.0
_TOTAL_SECONDS = 8.0  # less than a stream waits for its status
_REDIRECTS = 3
_REDIRECTING = frozenset({301, 302, 303, 307, 308})
_PORTS = {"http": 80, "https": 443}
_SAFE = "/%:=&?~+!$,;'@()*[]-._"  # what a path or a query may have as it stands

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a name, in the order to try them. Raises `OSError`."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@dataclass(frozen=True, slots=True)
class ImageFetcher:
    """Fetches pictures.

    Attributes:
        resolve: Finds a name's addresses.
        is_allowed: Which of them may be connected to.
        total_seconds: After which a fetch is given up, redirects included.
    """

    resolve: Resolve = resolve
    is_allowed: Callable[[str], bool] = is_public
    total_seconds: float = _TOTAL_SECONDS

    async def fetch(self, url: str, take: Callable[[int], None]) -> bytes:
        """The picture's file.

        Args:
            url: Where it is; `http` or `https`.
            take: Told of each piece's bytes as it comes; raises to end the fetch.

        Raises `ImageError`, which tells nothing of what is behind the address.
        """
        try:
            async with asyncio.timeout(self.total_seconds):
                return await self._fetch(url, take)
        except (TimeoutError, httpcore.TimeoutException) as error:
            raise _refused("could not be fetched in time.") from error
        except (OSError, httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise _refused("could not be fetched: its host can't be reached, or doesn't speak HTTP.") from error

    async def _fetch(self, url: str, take: Callable[[int], None]) -> bytes:
        network = _CheckedNetwork(self.resolve, self.is_allowed)
        # Of one fetch only: an address that was allowed once may be another's now. So there are no cookies either.
        async with httpcore.AsyncConnectionPool(await asyncio.to_thread(_tls), network_backend=network) as connections:
            for _ in range(_REDIRECTS + 1):
                found = await self._get(connections, url, take)
                if isinstance(found, bytes):
                    return found
                url = _joined(url, found)
        raise _refused(f"could not be fetched: it is redirected more than {_REDIRECTS} times.")

    async def _get(self, connections: httpcore.AsyncConnectionPool, url: str, take: Callable[[int], None]) -> bytes | str:
        """What is at a URL, or the place that it leads to."""
        target, host = _checked(url)
        headers = [("Host", host), ("User-Agent", f"omlx/{__version__}"), ("Accept", "image/*"), ("Accept-Encoding", "identity")]
        timeout = dict.fromkeys(("read", "write", "pool"), self.total_seconds) | {"connect": _CONNECT_SECONDS}
        async with connections.stream("GET", target, headers=headers, extensions={"timeout": timeout}) as response:
            told = {name.lower(): value.decode("latin-1") for name, value in response.headers}
            if response.status in _REDIRECTING and b"location" in told:
                return told[b"location"]
            if response.status != HTTPStatus.OK:
                raise _refused(f"could not be fetched: its host answered {response.status}.")
            if not told.get(b"content-type", "").strip().lower().startswith("image/"):
                raise _refused("could not be fetched: its host doesn't send it as a picture.")
            data = bytearray()
            async for piece in response.aiter_stream():
                take(len(piece))
                data += piece
            return bytes(data)


class _CheckedNetwork(AsyncNetworkBackend):
    """Connects to a name by an address that was checked, so that no second look-up can give another."""

    def __init__(self, resolve: Resolve, is_allowed: Callable[[str], bool]) -> None:
        self._resolve = resolve
        self._is_allowed = is_allowed
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  httpcore's protocol
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        """A connection to the first address that answers. Raises `ImageError` where one of them isn't allowed."""
        try:
            addresses = await self._resolve(host, port)
        except OSError as error:
            raise _refused("could not be fetched: its host is not known.") from error
        if not all(map(self._is_allowed, addresses)):
            raise _refused("is not fetched: its host has a private or reserved address.")
        failure: Exception = httpcore.ConnectError()
        for address in addresses:
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    """Blocks for a moment: certificates are read."""
    return httpcore.default_ssl_context()


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise _refused(_INVALID) from error


def _checked(url: str) -> tuple[httpcore.URL, str]:
    """A URL in its parts, and its `Host` header. Raises `ImageError`."""
    try:
        parts = urlsplit(url)
        name, port = parts.hostname or "", parts.port
        if parts.scheme not in _PORTS or not name:
            raise _refused("has a URL that isn't taken: it must begin with 'data:image/…;base64,', 'https://' or 'http://'.")
        host = name.encode("idna").decode("ascii")
    except (ValueError, UnicodeError) as error:
        raise _refused(_INVALID) from error
    if parts.username is not None or parts.password is not None:
        raise _refused("has a URL with a name or a password, which isn't taken.")
    path = quote(parts.path or "/", safe=_SAFE) + (f"?{quote(parts.query, safe=_SAFE)}" if parts.query else "")
    target = httpcore.URL(
        scheme=parts.scheme.encode(), host=host.encode(), port=port or _PORTS[parts.scheme], target=path.encode()
    )
    shown = f"[{host}]" if ":" in host else host
    return target, shown if port in (None, _PORTS[parts.scheme]) else f"{shown}:{port}"


def _refused(reason: str) -> ImageError:
    return ImageError(reason, code=_INVALID_URL)
