"""What an API key is, and what is kept of it: never the key itself."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from omlx.access.errors import InvalidKeyError

PREFIX = "omlx-"
_RANDOM_BYTES = 32
_HINT = 4  # characters of a key's end by which people tell it from others
_LONGEST_NAME = 64
_MOST = (1 << 53) - 1  # what JavaScript holds exactly


@dataclass(frozen=True, slots=True)
class Limits:
    """What a key may have; None for as much as there is.

    Attributes:
        requests_per_minute: Requests to models in any sixty seconds.
        concurrent_requests: Requests to models at once.
        tokens_per_day: Tokens of prompts and answers together, from midnight to midnight UTC. The request that passes it is still answered.
    """

    requests_per_minute: int | None = None
    concurrent_requests: int | None = None
    tokens_per_day: int | None = None

    def __post_init__(self) -> None:
        """Raise `InvalidKeyError` for what is no limit."""
        for name, value in asdict(self).items():
            if value is not None and (type(value) is not int or not 1 <= value <= _MOST):
                raise InvalidKeyError(f"'{name}' takes an integer from 1 to {_MOST}, or nothing, not {value!r}.")


@dataclass(frozen=True, slots=True)
class Key:
    """One key.

    Attributes:
        key_id: What routes and files call it.
        name: What people call it; no two that count have the same.
        digest: SHA-256 of the key, in hexadecimal. A key has 256 random bits, so nothing slower is needed.
        hint: The end of the key.
        created: When, as ISO 8601 in UTC.
        is_admin: Whether it may administer the server, too.
        revoked: When it was revoked; None while it counts.
    """

    key_id: str
    name: str
    digest: str
    hint: str
    created: str
    is_admin: bool = False
    limits: Limits = field(default_factory=Limits)
    revoked: str | None = None


def new_secret() -> str:
    """A key that nobody has had."""
    return PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def new_id() -> str:
    """An id that no key has."""
    return f"key_{secrets.token_hex(8)}"


def digest_of(secret: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(secret.encode(errors="surrogateescape")).hexdigest()


def hint_of(secret: str) -> str:
    """What people see of it."""
    return f"…{secret[-_HINT:]}"


def checked_name(name: str) -> str:
    """A key's name as it is kept. Raises `InvalidKeyError`."""
    name = name.strip()
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise InvalidKeyError(f"A key's name has 1 to {_LONGEST_NAME} printable characters.")
    return name


def as_kept(key: Key) -> dict[str, Any]:
    """A key as the file has it."""
    kept = asdict(key)
    del kept["key_id"]
    return kept


def from_kept(key_id: str, kept: Mapping[str, Any]) -> Key:
    """A key from the file. Raises `InvalidKeyError` for what is none."""
    try:
        key = Key(key_id, **{**kept, "limits": Limits(**kept.get("limits", {}))})
    except TypeError as error:
        raise InvalidKeyError(f"'{key_id}' is no key: {error}.") from error
    texts = (key.name, key.digest, key.hint, key.created)
    if not all(isinstance(text, str) for text in texts) or type(key.is_admin) is not bool:
        raise InvalidKeyError(f"'{key_id}' is no key: one of its values is of another type.")
    return key
