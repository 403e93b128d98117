"""Why somebody is turned away.

DeniedError
├── NoKeyError            no key, or none that counts
├── NotSignedInError      the administration asks for a password or an administrator's key
├── NotAdminError         the key is a user's
├── WrongSecretError      at signing in
├── LimitError            a key's own limit, with the time to come back
│   └── AttemptsError     too many wrong passwords
├── InvalidKeyError       a key can't be made or changed so
├── UnknownKeyError       there is no key of this id
├── InvalidPasswordError  a password can't be this one
└── AccessFileError       what is kept of keys can't be read or written
"""

from actors.errors import OmlxError


class DeniedError(OmlxError):
    """The root of this tree."""


class NoKeyError(DeniedError):
    """A request has no key, or none that counts.

    Args:
        given: Whether there was one.
    """

    def __init__(self, given: bool) -> None:
        super().__init__(
            "This API key isn't valid here: it is wrong, or was revoked."
            if given
            else "This server asks for an API key: `Authorization: Bearer KEY`, or `x-api-key: KEY`."
        )


class NotSignedInError(DeniedError):
    """The administration was asked for something by nobody it knows."""

    def __init__(self) -> None:
        super().__init__(
            "Sign in first, at /admin, or send an administrator's API key. Where neither a password nor such a key is there, "
            "`omlx password set` makes one on the server's machine."
        )


class NotAdminError(DeniedError):
    """A user's key was used for what an administrator's is needed for."""

    def __init__(self, name: str) -> None:
        super().__init__(f"The key '{name}' may use models, but not administer the server.")


class WrongSecretError(DeniedError):
    """What was typed at signing in is neither the password nor an administrator's key."""

    def __init__(self) -> None:
        super().__init__("That is neither the password nor an administrator's key.")


class LimitError(DeniedError):
    """A key has had what its limits allow.

    Args:
        retry_after: Seconds until there is more.
    """

    def __init__(self, message: str, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__(message)

    def __reduce__(self) -> tuple[type["LimitError"], tuple[str, int]]:
        return type(self), (str(self), self.retry_after)


class AttemptsError(LimitError):
    """There were too many wrong attempts to sign in."""


class InvalidKeyError(DeniedError):
    """A key can't be made, or changed, like this."""


class UnknownKeyError(DeniedError):
    """There is no key of this name or id."""

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(f"There is no key '{key}'.")

    def __reduce__(self) -> tuple[type["UnknownKeyError"], tuple[str]]:
        return type(self), (self.key,)


class InvalidPasswordError(DeniedError):
    """A text can't be the password."""


class AccessFileError(DeniedError):
    """The file with keys and password can't be read or written."""
