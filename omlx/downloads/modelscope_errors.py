"""What ModelScope says of a request that it refuses, in our words."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx2

from omlx.downloads.errors import AccessError, UnknownModelError, UnknownRevisionError
from omlx.downloads.web import Asked, Kind, busy, failures_told, plain, strange

KIND = Kind("ModelScope", "--ms-endpoint", "OMLX_MS_ENDPOINT, MODELSCOPE_ENDPOINT or the setting ms_endpoint")
_HOW_TO_LOG_IN = "A token is taken from MODELSCOPE_API_TOKEN, or from `omlx token set modelscope`."
_LONGEST = 1 << 16  # bytes of a refusal
# It answers most refusals with 404, and says in its envelope what they are. The older routes do so in numbers, the newer in words.
_NO_MODEL = (10010205001, "ResourceNotFound")
_NO_ACCESS = (10010200001, "OperationNotAllowed")
_NO_REVISION = (10990101004,)
_NO_FILE = (10990101007,)
_BAD_TOKEN = (10010103009, "InvalidAuthentication")


@contextmanager
def told(asked: Asked, path: str | None = None) -> Iterator[None]:
    """Turn what is raised inside, while a document or the file of a path is asked for, into `DownloadError` or `TransientError`."""
    with failures_told(asked, path):
        yield


def refuse(answer: httpx2.Response, asked: Asked, path: str | None = None) -> None:
    """Raise what an answer's status says, if it is a refusal: `DownloadError` or `TransientError`."""
    status = answer.status_code
    if status < 400:
        return
    if (later := busy(asked, status, answer.headers)) is not None:
        raise later
    said = _envelope(answer)
    raise _of_code(said, asked, path) or _of_status(status, said, asked, path)


def data_of(answer: httpx2.Response, asked: Asked) -> Any:
    """What is in an answer's envelope. Raises `DownloadError` for a refusal in it, and `ValueError` when it is none."""
    said = answer.json()
    if not isinstance(said, dict):
        raise ValueError("it sends no object")  # noqa: TRY004 - the answer is wrong, whatever its type
    if _of(said, "success") is False:
        raise _of_code(said, asked, None) or ValueError(f"it says no more than {plain(str(_of(said, 'message')))!a}")
    return _of(said, "data")


def _of_code(said: Mapping[str, Any], asked: Asked, path: str | None) -> Exception | None:
    code = _of(said, "code")
    if code in _BAD_TOKEN:
        return _bad_token(asked)
    if code in _NO_ACCESS:
        page = f"{asked.endpoint}/models/{asked.repository}"
        return AccessError(
            f"{asked.name} is private or gated. "
            + (
                f"The token that was sent has no access. If its authors ask for an agreement, accept it on {page}, then try again."
                if asked.has_token
                else f"If its authors ask for an agreement, accept it on {page}, then try again with a token. {_HOW_TO_LOG_IN}"
            )
        )
    if code in _NO_REVISION:
        return UnknownRevisionError(f"{asked.repository} has no revision '{asked.revision}'.")
    if code in _NO_FILE:
        return UnknownRevisionError(f"{asked.repository} has no file {path!a} any more. Try again.")
    if code in _NO_MODEL and asked.repository is not None:
        hidden = "or the token has no access to it" if asked.has_token else f"or it is private. {_HOW_TO_LOG_IN}"
        return UnknownModelError(f"There is no model {asked.repository} on {asked.endpoint}, {hidden.rstrip('.')}.")
    return None


def _of_status(status: int, said: Mapping[str, Any], asked: Asked, path: str | None) -> Exception:
    if status == 401:
        return _bad_token(asked)
    if status == 403:
        message = plain(str(_of(said, "message") or ""))
        return AccessError(f"{asked.endpoint} gives no access to {asked.name}{f' ({message})' if message else ''}.")
    return strange(asked, status, path)


def _bad_token(asked: Asked) -> AccessError:
    if asked.has_token:
        return AccessError(f"{asked.endpoint} refused the token. It may have expired. {_HOW_TO_LOG_IN}")
    return AccessError(f"{asked.endpoint} gives no access to {asked.name} without a token. {_HOW_TO_LOG_IN}")


def _envelope(answer: httpx2.Response) -> Mapping[str, Any]:
    """What a refusal says; empty where it isn't in ModelScope's form."""
    body = bytearray()
    for chunk in answer.iter_bytes():
        body += chunk
        if len(body) > _LONGEST:
            return {}
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _of(said: Mapping[str, Any], name: str) -> Any:
    """A value of an envelope, of the older routes' or of the newer."""
    return said.get(name.capitalize(), said.get(name))
