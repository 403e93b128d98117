"""The administration's password: how it is kept, and whether a text is it."""

import hashlib
import hmac
import secrets

from omlx.access.errors import InvalidPasswordError

SHORTEST = 8
LONGEST = 1024
_COST, _BLOCK, _LANES = 1 << 15, 8, 1  # 32 MiB, about a tenth of a second
_MEMORY = 64 << 20


def hashed(password: str) -> str:
    """What is kept of a password: `scrypt`, its parameters, salt and hash. Slow on purpose. Raises `InvalidPasswordError`."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise InvalidPasswordError(f"A password has {SHORTEST} to {LONGEST} characters.")
    salt = secrets.token_bytes(16)
    return f"scrypt${_COST}${_BLOCK}${_LANES}${salt.hex()}${_scrypt(password, salt, _COST, _BLOCK, _LANES).hex()}"


def is_password(kept: str, text: str) -> bool:
    """Whether a text is the password of which this is kept. As slow as `hashed`; something else than it made is nobody's password."""
    if len(text) > LONGEST:
        return False
    try:
        method, cost, block, lanes, salt, digest = kept.split("$")
        found = _scrypt(text, bytes.fromhex(salt), int(cost), int(block), int(lanes))
        return method == "scrypt" and hmac.compare_digest(found, bytes.fromhex(digest))
    except ValueError:
        return False


def _scrypt(password: str, salt: bytes, cost: int, block: int, lanes: int) -> bytes:
    return hashlib.scrypt(
        password.encode(errors="surrogateescape"), salt=salt, n=cost, r=block, p=lanes, maxmem=_MEMORY, dklen=32
    )
