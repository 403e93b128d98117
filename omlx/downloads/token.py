"""Where the tokens for private and gated repositories are kept: a file of each kind of source in the base path, its owner's alone."""

import fcntl
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import get_token

from omlx.downloads.errors import AccessError, InvalidTokenError, StorageError

# By kind of source; a token of theirs counts more than the file.
_VARIABLES = {"hf": ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"), "modelscope": ("MODELSCOPE_API_TOKEN",)}
_LONGEST = 4096  # characters; those of hubs have a few dozen, those that carry signatures some hundreds
_TOKEN = re.compile(r"[!-~]+")  # else it couldn't be sent, and the error of whoever tries would show it


def token_file(base_path: Path, kind: str) -> Path:
    """Where the token for a kind of source is kept, such as `hf_token`. Raises `ValueError` for a kind that takes none."""
    if kind not in _VARIABLES:
        raise ValueError(f"There is no token for '{kind}', only for {', '.join(_VARIABLES)}.")
    return base_path / f"{kind}_token"


def variable_with_token(kind: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """The environment's variable whose token counts more than the file, if there is one."""
    return next((each for each in _VARIABLES.get(kind, ()) if environment.get(each, "").strip()), None)


def hub_token(base_path: Path, environment: Mapping[str, str] = os.environ) -> str | None:
    """The token: `HF_TOKEN`'s, else that of the file `hf_token` in the base path, else where `hf auth login` keeps it.

    Raises `AccessError` when others may read the file, or when it holds no token.
    """
    if variable_with_token("hf", environment) is None and (own := kept_token(base_path, "hf")):
        return own
    token = get_token()
    if token is not None and (reason := _problem(token)):
        raise AccessError(f"The token in HF_TOKEN, or where `hf auth login` keeps it, can't be one: {reason}.")
    return token


def modelscope_token(base_path: Path, environment: Mapping[str, str] = os.environ) -> str | None:
    """The token: `MODELSCOPE_API_TOKEN`'s, else that of the file `modelscope_token` in the base path.

    What `modelscope login` keeps is a session of its own, and isn't read. Raises `AccessError` as `hub_token` does.
    """
    if (variable := variable_with_token("modelscope", environment)) is None:
        return kept_token(base_path, "modelscope")
    token = environment[variable].strip()
    if reason := _problem(token):
        raise AccessError(f"The token in {variable} can't be one: {reason}.")
    return token


def kept_token(base_path: Path, kind: str) -> str | None:
    """The token in a kind's file; None where there is none. Raises `AccessError` as `hub_token` does."""
    file = token_file(base_path, kind)
    try:
        with file.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            token = opened.read(_LONGEST + 2).decode("utf-8", "replace").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise AccessError(f"{file} can't be read: {error.strerror}.") from error
    if mode & 0o077:
        raise AccessError(f"{file} holds a token, and others may read it. Run `chmod 600 {file}`.")
    if token and (reason := _problem(token)):
        raise AccessError(f"{file} holds no token: {reason}. Store it anew with `omlx token set {kind}`.")
    return token or None


def store_token(base_path: Path, kind: str, token: str) -> Path:
    """Keep a token, in place of the one before; its file, which is never anybody's but its owner's, and never a part of a token.

    Raises `InvalidTokenError`, `StorageError` when it can't be written, and `ValueError` for a kind that takes none.
    """
    file = token_file(base_path, kind)
    if reason := _problem(token):
        raise InvalidTokenError(f"That can't be a token: {reason}.")
    new = _unfinished(file)
    try:
        base_path.mkdir(parents=True, exist_ok=True)
        with _held(base_path) as folder:
            new.unlink(missing_ok=True)  # somebody may have died writing it
            try:
                with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:  # noqa: PTH123 - of a descriptor
                    out.write(token.encode() + b"\n")
                    out.flush()
                    os.fsync(out.fileno())
                new.replace(file)
            except BaseException:
                new.unlink(missing_ok=True)
                raise
            os.fsync(folder)
    except OSError as error:
        raise StorageError(f"The token can't be written to {file}: {error.strerror or error}.") from error
    return file


def forget_token(base_path: Path, kind: str) -> bool:
    """Delete a kind's token; whether there was one. Raises `StorageError` and `ValueError` as `store_token` does."""
    file = token_file(base_path, kind)
    try:
        with _held(base_path) as folder:
            _unfinished(file).unlink(missing_ok=True)
            file.unlink()
            os.fsync(folder)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StorageError(f"{file} can't be deleted: {error.strerror or error}.") from error
    return True


def _unfinished(file: Path) -> Path:
    return file.with_name(f"{file.name}.new")


@contextmanager
def _held(folder: Path) -> Iterator[int]:
    """A folder's descriptor, while nobody else changes a token in it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)  # which unlocks it


def _problem(token: str) -> str | None:
    """Why a text can't be a token, in words that don't repeat it; None if it can."""
    if not token:
        return "it is empty"
    if len(token) > _LONGEST:
        return f"it has more than {_LONGEST} characters"
    if not _TOKEN.fullmatch(token):
        return "it has a space or another character that no token has"
    return None
