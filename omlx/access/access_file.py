"""`access.json` in the base path: the keys' hashes and the password's, changed by the server and by commands, one at a time."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from actors.catalog.json_file import JsonFile, folder_lock
from omlx.access.errors import AccessFileError, InvalidKeyError, UnknownKeyError
from omlx.access.keys import Key, Limits, as_kept, checked_name, digest_of, from_kept, hint_of, new_id, new_secret

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Kept:
    """What the file says.

    Attributes:
        password: As `omlx.access.password.hashed` makes it; None where none is set.
        keys: By id, the oldest first, revoked ones too.
    """

    password: str | None = None
    keys: Mapping[str, Key] = field(default_factory=dict)


class AccessFile:
    """The file. May be used from several threads; other processes may change it at any time.

    Args:
        base_path: Its folder.

    Raises `AccessFileError` where it is there and can't be read: then nobody can say who may do what.
    """

    def __init__(self, base_path: Path) -> None:
        self.path = base_path / "access.json"
        self._file = JsonFile(self.path, objects=("keys",))
        self._lock = threading.Lock()
        self._kept = self._read()

    def kept(self) -> Kept:
        """What it says now; costs one `stat` while nobody changes it. What was last known, while it can't be read."""
        with self._lock:
            if self._file.changed():
                try:
                    self._kept = self._read()
                except AccessFileError as error:
                    _log.error("%s What it said before still counts.", error)
            return self._kept

    def add_key(self, name: str, *, is_admin: bool = False, limits: Limits | None = None) -> tuple[Key, str]:
        """Make a key; what is kept of it, and the key itself, which is never to be had again.

        Raises `InvalidKeyError`, `AccessFileError`.
        """
        name = checked_name(name)
        secret = new_secret()
        key = Key(new_id(), name, digest_of(secret), hint_of(secret), _now(), is_admin, limits or Limits())

        def added(kept: Kept) -> Kept:
            if any(each.name.casefold() == name.casefold() and each.revoked is None for each in kept.keys.values()):
                raise InvalidKeyError(f"There is a key '{name}' already.")
            return replace(kept, keys={**kept.keys, key.key_id: key})

        self._change(added)
        return key, secret

    def set_limits(self, key_id: str, limits: Limits) -> Key:
        """Give a key other limits; the key then. Raises `UnknownKeyError`, `AccessFileError`."""
        return self._change_key(key_id, lambda key: replace(key, limits=limits))

    def revoke_key(self, key_id: str) -> Key:
        """Have a key count no more, from now on; the key then. Raises `UnknownKeyError`, `AccessFileError`."""
        return self._change_key(key_id, lambda key: key if key.revoked else replace(key, revoked=_now()))

    def forget_key(self, key_id: str) -> None:
        """Drop what is kept of a revoked key. Raises `UnknownKeyError`, `InvalidKeyError` while it counts, `AccessFileError`."""

        def forgotten(kept: Kept) -> Kept:
            if _found(kept, key_id).revoked is None:
                raise InvalidKeyError("A key that counts is revoked first.")
            return replace(kept, keys={each: key for each, key in kept.keys.items() if each != key_id})

        self._change(forgotten)

    def set_password(self, hashed: str | None) -> None:
        """Keep another password's hash, or none. Raises `AccessFileError`."""
        self._change(lambda kept: replace(kept, password=hashed))

    def _change_key(self, key_id: str, change: Callable[[Key], Key]) -> Key:
        return self._change(lambda kept: replace(kept, keys={**kept.keys, key_id: change(_found(kept, key_id))})).keys[key_id]

    def _change(self, change: Callable[[Kept], Kept]) -> Kept:
        with self._lock, self._held():
            kept = change(self._read())
            self._file.write({"password": kept.password, "keys": {key_id: as_kept(key) for key_id, key in kept.keys.items()}})
            self._kept = kept
        return kept

    @contextmanager
    def _held(self) -> Iterator[None]:
        """No other process changes the file meanwhile."""
        try:
            with folder_lock(self.path.with_name(".access.lock")):
                yield
        except OSError as error:
            raise AccessFileError(f"{self.path} can't be written: {error.strerror or error}.") from error

    def _read(self) -> Kept:
        try:
            found = self._file.read()
            return Kept(_password(found), {each: from_kept(each, _object(kept)) for each, kept in found.get("keys", {}).items()})
        except OSError as error:
            raise AccessFileError(f"{self.path} can't be read: {error.strerror or error}.") from error
        except (ValueError, InvalidKeyError) as error:
            raise AccessFileError(
                f"{self.path} is broken: {error}. It says who may use this server: repair it, or move it away to begin anew."
            ) from error


def find_key(kept: Kept, name: str) -> Key:
    """A key by its id, or by its name: the one that counts, else the one revoked last. Raises `UnknownKeyError`."""
    named = [key for key in kept.keys.values() if key.name.casefold() == name.casefold()]
    counting = [key for key in named if key.revoked is None]
    found = kept.keys.get(name) or next(iter(counting or reversed(named)), None)
    if found is None:
        raise UnknownKeyError(name)
    return found


def _found(kept: Kept, key_id: str) -> Key:
    if key_id not in kept.keys:
        raise UnknownKeyError(key_id)
    return kept.keys[key_id]


def _password(found: Mapping[str, Any]) -> str | None:
    password = found.get("password")
    if password is not None and not isinstance(password, str):
        raise ValueError("its password is no text")
    return password


def _object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("one of its keys is no object")  # noqa: TRY004 - the file is broken
    return value


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
