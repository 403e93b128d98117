"""Lets a request in, or turns it away, before any route sees it. Who may do what: `omlx.access.access`."""

from enum import Enum, auto

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from omlx.access.access import Access, Caller
from omlx.access.errors import NoKeyError, NotAdminError, NotSignedInError
from omlx.access.usage import KeyUsage
from omlx.api.caller import as_stranger, is_local, secrets_of, session_of
from omlx.api.revocable import run_while
from omlx.api.same_origin import refuse_other_sites
from omlx.record import record_of


class Need(Enum):
    """What a request has to come with."""

    NOTHING = auto()
    KEY = auto()
    ADMIN = auto()


# The page has nothing in it that is secret; signing in is for those who aren't; probes ask whether the server lives.
_OPEN = frozenset({"/", "/admin", "/admin/api/session", "/health", "/openapi.json"})


def need_of(method: str, path: str) -> Need:
    """What a request needs. What isn't named here needs a key, so that no route is open by being forgotten."""
    if path in _OPEN or path.startswith("/admin/static/"):
        return Need.NOTHING
    changes_what_runs = method == "POST" and path.startswith("/v1/models/") and path.endswith(("/load", "/unload"))
    return Need.ADMIN if changes_what_runs or path.startswith("/admin/") else Need.KEY


class Guard:
    """Middleware. Raises `DeniedError`, `RequestError` for another site's wish in a browser where somebody is signed in.

    Args:
        app: What comes after.
        access: The rules.
        usage: Who counts what each key has.
    """

    def __init__(self, app: ASGIApp, access: Access, usage: KeyUsage) -> None:
        self._app = app
        self._access = access
        self._usage = usage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the request if it may."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"]
        need = need_of(method, scope["path"])
        caller = self._caller(scope)
        if need is Need.NOTHING:
            await self._app(scope if caller.may_use else as_stranger(scope), receive, send)
            return
        _check(need, caller)
        if caller.has_session and caller.key is None:
            refuse_other_sites(method, Headers(scope=scope))
        if caller.key is None:
            await self._run(need, scope, receive, send)
            return
        record = record_of(scope)
        record.key_id, record.key_name = caller.key.key_id, caller.key.name
        if need is Need.ADMIN or method != "POST":
            await self._run(need, scope, receive, send)
            return
        with self._usage.request(caller.key) as taken:
            try:
                await self._run(need, scope, receive, send)
            finally:
                taken.prompt_tokens, taken.completion_tokens = record.prompt_tokens, record.completion_tokens

    async def _run(self, need: Need, scope: Scope, receive: Receive, send: Send) -> None:
        """Have it answered, unless its key is revoked meanwhile, or somebody signs out."""
        await run_while(lambda: _is_enough(need, self._caller(scope)), self._app, scope, receive, send)

    def _caller(self, scope: Scope) -> Caller:
        return self._access.caller(secrets_of(Headers(scope=scope)), session_of(scope), is_local=is_local(scope))


def _is_enough(need: Need, caller: Caller) -> bool:
    return caller.may_administer if need is Need.ADMIN else caller.may_use


def _check(need: Need, caller: Caller) -> None:
    if _is_enough(need, caller):
        return
    if need is Need.ADMIN and caller.key is not None:
        raise NotAdminError(caller.key.name)
    if need is Need.ADMIN and not caller.is_wrong:
        raise NotSignedInError
    raise NoKeyError(caller.is_wrong)
