"""`/admin/api/session` and `/admin/api/password`: who is signed in to the administration."""

import asyncio

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from omlx.access.access import Access
from omlx.access.password import LONGEST, hashed
from omlx.access.sessions import SECONDS
from omlx.api.body import documented, read_body
from omlx.api.caller import address_of, cookie_name, is_local, secrets_of, session_of
from omlx.api.openai import ErrorResponse
from omlx.api.same_origin import same_origin


class SignIn(BaseModel):
    """The password, or an administrator's key; nothing where neither is needed."""

    secret: str = Field(default="", max_length=LONGEST)


class PasswordChange(BaseModel):
    """The password to come, null for none, and the present one, if there is one."""

    password: str | None
    current: str = Field(default="", max_length=LONGEST)


class SessionShown(BaseModel):
    """Whether somebody is signed in here, and what the server asks for."""

    is_signed_in: bool
    needs_sign_in: bool
    needs_key: bool
    has_password: bool
    is_exposed: bool


def session_routes(access: Access) -> APIRouter:
    """The routes, given the rules."""
    router = APIRouter(
        tags=["Administration"],
        responses={"default": {"model": ErrorResponse, "description": "An error"}},
        dependencies=[Depends(same_origin)],
    )

    @router.get("/admin/api/session")
    async def show_session(http: Request) -> SessionShown:
        """Who is signed in, and what is needed."""
        return _shown(access, http, session_of(http.scope))

    @router.post("/admin/api/session", **documented(SignIn, SessionShown))
    async def sign_in(http: Request) -> Response:
        """Sign in; the answer sets a cookie."""
        given = await read_body(http, SignIn)
        token = await access.sign_in(given.secret, address_of(http.scope), is_local=is_local(http.scope))
        answer = Response(_shown(access, http, token).model_dump_json(), media_type="application/json")
        answer.set_cookie(
            cookie_name(http.scope),
            token,
            max_age=SECONDS,
            httponly=True,
            samesite="strict",
            secure=http.url.scheme == "https",
        )
        return answer

    @router.delete("/admin/api/session")
    async def sign_out(http: Request, answer: Response) -> SessionShown:
        """Sign out."""
        if (token := session_of(http.scope)) is not None:
            access.sign_out(token)
        answer.delete_cookie(cookie_name(http.scope))
        return _shown(access, http, None)

    @router.put("/admin/api/password", **documented(PasswordChange, SessionShown))
    async def change_password(http: Request) -> SessionShown:
        """Set, change or drop the password. Whoever else is signed in by the one before is signed out."""
        change = await read_body(http, PasswordChange)
        if access.file.kept().password is not None:
            await access.confirm(change.current, address_of(http.scope))
        kept = None if change.password is None else await asyncio.to_thread(hashed, change.password)
        await access.change_password(kept, session_of(http.scope))
        return _shown(access, http, session_of(http.scope))

    return router


def _shown(access: Access, http: Request, session: str | None) -> SessionShown:
    kept = access.file.kept()
    caller = access.caller(secrets_of(http.headers), session, is_local=is_local(http.scope))
    return SessionShown(
        is_signed_in=caller.has_session,
        needs_sign_in=access.needs_sign_in(kept),
        needs_key=access.needs_key(kept),
        has_password=kept.password is not None,
        is_exposed=access.is_exposed,
    )
