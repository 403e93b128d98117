"""What happens to every request before its route and after: its id, its record, its last resort, its size."""

import logging
import re
import time
from collections.abc import Sequence
from http import HTTPStatus
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from omlx.api.errors import RequestError, reply_to, request_id
from omlx.record import RequestObserver, RequestRecord, attach, record_of

DEFAULT_MAX_BODY_BYTES = 32 * 1024 * 1024
_HEADER = "x-request-id"
_TRACE = "traceparent"
_SANE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,127}")
_LENGTH = re.compile(r"[0-9]{1,19}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_log = logging.getLogger(__name__)


class RequestId:
    """Gives every request an id, the client's own if it is a sane one, and sends it back."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the request under its id."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(_HEADER, "")
        name = given if _SANE_ID.fullmatch(given) else f"req_{uuid4().hex}"

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[_HEADER] = name
            await send(message)

        await self._app({**scope, "omlx.request_id": name}, receive, send_with_id)


class RequestRecords:
    """Keeps a record of every request, and tells the observers when it begins and when it is over."""

    def __init__(self, app: ASGIApp, observers: Sequence[RequestObserver]) -> None:
        self._app = app
        self._observers = tuple(observers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the request with its record."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record = RequestRecord(
            request_id(scope),
            scope["method"] if scope["method"] in _METHODS else "other",
            time.monotonic(),
            time.time(),
            Headers(scope=scope).get(_TRACE, ""),
        )

        async def send_and_note(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
            await send(message)

        scope = attach(record, scope)
        for observer in self._observers:
            observer.began(record)
        try:
            await self._app(scope, receive, send_and_note)
        finally:
            # A path that no route has isn't told, so that nobody can make up series by asking for nonsense.
            record.endpoint = getattr(scope.get("route"), "path_format", record.endpoint)
            record.ended = time.monotonic()
            for observer in self._observers:
                observer.ended(record)


class UnforeseenErrors:
    """Answers 500 where nothing else answers. After the answer has begun, lets the server break the connection."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the request and catch what is left."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def send_and_note(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        except Exception as error:
            if begun:
                record_of(scope).error = "internal_error"
                _log.error("the request broke off", extra={"request_id": request_id(scope)})
                raise
            await reply_to(error, scope).response()(scope, receive, send)


class BodyLimit:
    """Refuses a body that is too large, whether it says so or not, once its route reads it."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the request with a guarded `receive`."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        size = int(declared) if _LENGTH.fullmatch(declared) else 0
        arrived = 0

        async def receive_within_limit() -> Message:
            nonlocal arrived
            # Before reading, so that a client that waits for `100 Continue` is spared the upload.
            self._check(size)
            message = await receive()
            if message["type"] == "http.request":
                arrived += len(message.get("body", b""))
                self._check(arrived)
            return message

        await self._app(scope, receive_within_limit, send)

    def _check(self, size: int) -> None:
        if size > self._max_bytes:
            raise RequestError(
                f"The request's body is too large: at most {self._max_bytes} bytes are taken.",
                code="request_too_large",
                status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            )
