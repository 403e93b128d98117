"""Decides who may use models and who may administer the server, by what they send."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from omlx.access.access_file import AccessFile, Kept
from omlx.access.attempts import Attempts
from omlx.access.errors import AttemptsError, WrongSecretError
from omlx.access.keys import Key, Limits, digest_of, hint_of
from omlx.access.password import is_password
from omlx.access.sessions import Grant, Sessions

OPTION_ID = "option"  # the id of the key that the command line or the environment gave
_CHECKS = 4  # passwords that may wait to be compared; each takes a tenth of a second and 32 MiB


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request, as far as it says.

    Attributes:
        key: The key that it was sent with, if that counts.
        is_wrong: Whether it was sent with a key that doesn't.
        has_session: Whether a browser sent it in which somebody is signed in.
        may_use: Whether it may ask models.
        may_administer: Whether it may change the server.
    """

    key: Key | None
    is_wrong: bool
    has_session: bool
    may_use: bool
    may_administer: bool


class Access:
    """The rules.

    A key is needed once there is one, also if it was revoked since, and always where other machines can reach the server. Signing in
    is needed once there is a password or an administrator's key, and there too. Until then, this machine is trusted.

    Args:
        file: The keys and the password.
        option_key: A key that the command line or the environment gives, an administrator's.
        is_exposed: Whether other machines can reach the server.
        clock: Seconds that go on steadily.

    Attributes:
        option: What is kept of that key.
    """

    def __init__(
        self,
        file: AccessFile,
        *,
        option_key: str | None = None,
        is_exposed: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.file = file
        self.is_exposed = is_exposed
        self.option = (
            Key(OPTION_ID, "--api-key", digest_of(option_key), hint_of(option_key), "", is_admin=True) if option_key else None
        )
        self._sessions = Sessions(clock)
        self._attempts = Attempts(clock)
        self._comparing = asyncio.Lock()
        self._waiting = 0

    def needs_key(self, kept: Kept) -> bool:
        """Whether models are for those with a key alone."""
        return self.is_exposed or self.option is not None or bool(kept.keys)

    def needs_sign_in(self, kept: Kept) -> bool:
        """Whether the administration is for those who are signed in alone."""
        is_known = kept.password is not None or self.option is not None
        return self.is_exposed or is_known or any(key.is_admin for key in kept.keys.values())

    def can_be_used(self) -> bool:
        """Whether there is a key that counts."""
        return self.option is not None or any(key.revoked is None for key in self.file.kept().keys.values())

    def can_be_administered(self) -> bool:
        """Whether there is a password, or an administrator's key that counts."""
        kept = self.file.kept()
        has_key = any(key.is_admin and key.revoked is None for key in kept.keys.values())
        return kept.password is not None or self.option is not None or has_key

    def caller(self, secrets: Sequence[str], session: str | None, *, is_local: bool) -> Caller:
        """Who sends a request.

        Args:
            secrets: The keys that it was sent with; one that counts is enough.
            session: What its browser sent.
            is_local: Whether it comes from this machine.
        """
        kept = self.file.kept()
        key = next((key for secret in secrets if (key := self._key(kept, secret)) is not None), None)
        has_session = session is not None and any(self._counts(kept, grant) for grant in self._sessions.grants(session))
        is_open = is_local and not self.needs_sign_in(kept)
        return Caller(
            key=key,
            is_wrong=bool(secrets) and key is None,
            has_session=has_session,
            may_use=key is not None or has_session or not self.needs_key(kept),
            may_administer=(key is not None and key.is_admin) or has_session or is_open,
        )

    async def sign_in(self, secret: str, address: str, *, is_local: bool) -> str:
        """Begin a session; what the browser is to send.

        Args:
            secret: The password, or an administrator's key; anything where neither is needed.
            address: Where the attempt comes from.
            is_local: Whether that is this machine.

        Raises `WrongSecretError` or `AttemptsError`.
        """
        kept = self.file.kept()
        if is_local and not self.needs_sign_in(kept):
            return self._sessions.begin(Grant("open"))
        self._attempts.check(address)
        key = self._key(kept, secret)
        if key is not None and key.is_admin:
            grant = Grant("key", key.key_id)
        elif kept.password is not None and await self._is_password(secret, address):
            grant = Grant("password", kept.password)
        else:
            self._attempts.wrong(address)
            raise WrongSecretError
        self._attempts.right(address)
        return self._sessions.begin(grant)

    async def confirm(self, password: str, address: str) -> None:
        """Return if this is the password. Raises `WrongSecretError` or `AttemptsError`."""
        self._attempts.check(address)
        if not await self._is_password(password, address):
            self._attempts.wrong(address)
            raise WrongSecretError
        self._attempts.right(address)

    async def change_password(self, hashed: str | None, session: str | None) -> None:
        """Keep another password's hash, or none. Whoever is signed in by the one before isn't any more, but for who changes it.

        Raises `AccessFileError`.
        """
        if session is not None:
            self._sessions.add(session, Grant("open") if hashed is None else Grant("password", hashed))
        await asyncio.to_thread(self.file.set_password, hashed)

    async def make_key(self, name: str, *, is_admin: bool, limits: Limits, session: str | None) -> tuple[Key, str]:
        """As `AccessFile.add_key`. Whoever makes an administrator's key is signed in by it."""
        key, secret = await asyncio.to_thread(lambda: self.file.add_key(name, is_admin=is_admin, limits=limits))
        if session is not None and is_admin:
            self._sessions.add(session, Grant("key", key.key_id))
        return key, secret

    def sign_out(self, session: str) -> None:
        """End a session."""
        self._sessions.end(session)

    async def _is_password(self, text: str, address: str) -> bool:
        """Raises `AttemptsError` where too many ask that at once, or an address has been wrong too often meanwhile."""
        if self._waiting >= _CHECKS:
            raise AttemptsError("Too many attempts at once. Try again in a second.", 1)
        self._waiting += 1
        try:
            async with self._comparing:
                self._attempts.check(address)  # those that waited with it may have been wrong
                kept = self.file.kept().password
                return kept is not None and await asyncio.to_thread(is_password, kept, text)
        finally:
            self._waiting -= 1

    def _key(self, kept: Kept, secret: str) -> Key | None:
        """The key that counts and is this one. By its hash: how long the search takes says nothing of the key."""
        digest = digest_of(secret)
        keys = [*([self.option] if self.option is not None else []), *kept.keys.values()]
        return next((key for key in keys if key.digest == digest and key.revoked is None), None)

    def _counts(self, kept: Kept, grant: Grant) -> bool:
        match grant:
            case Grant("password", of):
                return of == kept.password
            case Grant("key", of):
                key = self.option if of == OPTION_ID else kept.keys.get(of)
                return key is not None and key.revoked is None and key.is_admin
            case Grant("open"):
                return not self.needs_sign_in(kept)
            case _:
                return False
