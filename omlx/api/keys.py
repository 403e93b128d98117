"""`/admin/api/keys`: the API keys, their limits and what they have used."""

import asyncio
from typing import Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict

from omlx.access.access import OPTION_ID, Access
from omlx.access.errors import UnknownKeyError
from omlx.access.keys import Key, Limits
from omlx.access.usage import KeyUsage
from omlx.api.body import documented, read_body
from omlx.api.caller import session_of
from omlx.api.openai import ErrorResponse
from omlx.api.same_origin import same_origin


class LimitsShown(BaseModel):
    """What a key may have; null for as much as there is."""

    model_config = ConfigDict(extra="forbid")

    requests_per_minute: int | None = None
    concurrent_requests: int | None = None
    tokens_per_day: int | None = None

    def limits(self) -> Limits:
        """As the rules have them. Raises `InvalidKeyError`."""
        return Limits(**self.model_dump())


class NewKey(BaseModel):
    """A key to make."""

    name: str
    is_admin: bool = False
    limits: LimitsShown = LimitsShown()


class UsedShown(BaseModel):
    """What a key has had; `tokens_today` since midnight UTC."""

    requests: int
    prompt_tokens: int
    completion_tokens: int
    tokens_today: int
    last: str | None


class KeyShown(BaseModel):
    """A key, but for the key itself. `from_option` is the one that the command line or the environment gave."""

    id: str
    name: str
    hint: str
    is_admin: bool
    from_option: bool
    created: str | None
    revoked: str | None
    limits: LimitsShown
    used: UsedShown


class MadeKey(BaseModel):
    """A new key, which is told this once."""

    key: KeyShown
    secret: str


class KeysShown(BaseModel):
    """Every key, the oldest first, revoked ones too."""

    keys: list[KeyShown]


def key_routes(access: Access, usage: KeyUsage) -> APIRouter:
    """The routes, given the rules and who counts."""
    file = access.file
    router = APIRouter(
        tags=["Administration"],
        responses={"default": {"model": ErrorResponse, "description": "An error"}},
        dependencies=[Depends(same_origin)],
    )

    def shown(key: Key) -> KeyShown:
        return _shown(key, usage)

    def revocable(key_id: str) -> str:
        if key_id == OPTION_ID:  # it ends with the server
            raise UnknownKeyError(key_id)
        return key_id

    @router.get("/admin/api/keys")
    async def list_keys() -> KeysShown:
        """Every key."""
        option = [access.option] if access.option is not None else []
        return KeysShown(keys=[shown(key) for key in (*option, *file.kept().keys.values())])

    @router.post("/admin/api/keys", **documented(NewKey, MadeKey))
    async def make_key(http: Request) -> MadeKey:
        """Make a key. It counts at once, and from then on models ask everybody for one."""
        wish = await read_body(http, NewKey)
        limits = wish.limits.limits()
        session = session_of(http.scope)
        key, secret = await access.make_key(wish.name, is_admin=wish.is_admin, limits=limits, session=session)
        return MadeKey(key=shown(key), secret=secret)

    @router.put("/admin/api/keys/{key_id}/limits", **documented(LimitsShown, KeyShown))
    async def change_limits(key_id: str, http: Request) -> KeyShown:
        """Give a key other limits."""
        limits = (await read_body(http, LimitsShown)).limits()
        return shown(await asyncio.to_thread(file.set_limits, revocable(key_id), limits))

    @router.post("/admin/api/keys/{key_id}/revoke")
    async def revoke_key(key_id: str) -> KeyShown:
        """Have a key count no more, from now on."""
        return shown(await asyncio.to_thread(file.revoke_key, revocable(key_id)))

    @router.delete("/admin/api/keys/{key_id}")
    async def forget_key(key_id: str) -> dict[str, Any]:
        """Drop what is kept of a revoked key."""
        await asyncio.to_thread(file.forget_key, revocable(key_id))
        usage.forget(key_id)
        return {"id": key_id, "deleted": True}

    return router


def _shown(key: Key, usage: KeyUsage) -> KeyShown:
    used = usage.of(key.key_id)
    return KeyShown(
        id=key.key_id,
        name=key.name,
        hint=key.hint,
        is_admin=key.is_admin,
        from_option=key.key_id == OPTION_ID,
        created=key.created or None,
        revoked=key.revoked,
        limits=LimitsShown(
            requests_per_minute=key.limits.requests_per_minute,
            concurrent_requests=key.limits.concurrent_requests,
            tokens_per_day=key.limits.tokens_per_day,
        ),
        used=UsedShown(
            requests=used.requests,
            prompt_tokens=used.prompt_tokens,
            completion_tokens=used.completion_tokens,
            tokens_today=usage.today(key.key_id),
            last=used.last or None,
        ),
    )
