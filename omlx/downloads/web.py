"""The HTTP client that all places share, with the user's proxies, certificates and offline mode, and what its failures mean."""

import email.utils
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx2
from huggingface_hub import get_session
from huggingface_hub.errors import OfflineModeIsEnabled
from huggingface_hub.utils import parse_ratelimit_headers

from omlx.downloads.errors import EndpointError, OfflineError, TransientError


@dataclass(frozen=True, slots=True)
class Kind:
    """What a kind of place is called, and what says where it is.

    Attributes:
        title: Within a sentence.
        option: Of the command line.
        others: What else says it, within a sentence.
    """

    title: str
    option: str
    others: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked of a place: where, for which repository and revision, and whether with a token.

    Attributes:
        repository: None where all of them are searched.
    """

    kind: Kind
    endpoint: str
    repository: str | None
    revision: str | None
    has_token: bool

    @property
    def name(self) -> str:
        """What it was asked for, within a sentence."""
        return self.repository or "its models"


def session() -> httpx2.Client:
    """The shared client. Raises `EndpointError` when what the environment says of proxies or certificates can't be."""
    try:
        return get_session()
    except Exception as error:
        raise EndpointError(
            f"No request can be made: {error}. Check HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR."
        ) from error


@contextmanager
def failures_told(asked: Asked, path: str | None = None) -> Iterator[None]:
    """Turn what fails inside, while a document or the file of a path is asked for, into `DownloadError` or `TransientError`."""
    try:
        yield
    except OfflineModeIsEnabled as error:
        raise OfflineError(
            f"{asked.repository or asked.endpoint} can't be reached: offline mode is on. Unset HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE)."
        ) from error
    except httpx2.HTTPError as error:
        raise _of_line(error, asked) from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, httpx2.InvalidURL) as error:
        if path is not None:
            raise
        raise EndpointError(
            f"{asked.endpoint} doesn't answer as {asked.kind.title} does ({first_line(error)}). "
            f"Check the address: {asked.kind.option}, {asked.kind.others}."
        ) from error


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that an answer asks to wait, from `Retry-After` in either form or Hugging Face's own `RateLimit`."""
    value = headers.get("retry-after", "").strip()
    if value.isdigit():
        return float(value)
    try:
        return max((email.utils.parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds(), 0)
    except (ValueError, TypeError):
        pass
    limit = parse_ratelimit_headers(headers)
    return float(limit.reset_in_seconds) if limit is not None and limit.remaining == 0 else None


def busy(asked: Asked, status: int, headers: Mapping[str, str]) -> TransientError | None:
    """What a status says of a place that may be asked again; None if it doesn't."""
    if status in (408, 429) or status >= 500:
        return TransientError(f"{asked.endpoint} answered {status}", retry_after(headers))
    return None


def strange(asked: Asked, status: int, path: str | None) -> EndpointError:
    """What to say of a status that no such place would answer with."""
    return EndpointError(
        f"{asked.endpoint} answered {status} for {path or asked.name}, and not as {asked.kind.title} does. "
        f"Check the address ({asked.kind.option}) and the model's name."
    )


def _of_line(error: httpx2.HTTPError, asked: Asked) -> Exception:
    text = first_line(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return EndpointError(
            f"{asked.endpoint} has a certificate that isn't trusted here ({text}). Behind a proxy that reads along, "
            "SSL_CERT_FILE names a file with its certificate."
        )
    if isinstance(error, httpx2.TimeoutException):
        return TransientError(f"{asked.endpoint} took too long to answer")
    if isinstance(error, httpx2.NetworkError | httpx2.RemoteProtocolError | httpx2.ProxyError):
        return TransientError(f"the connection to {asked.endpoint} broke ({text})")
    return EndpointError(f"{asked.endpoint} can't be used: {text}.")


def first_line(error: Exception) -> str:
    """What an error says, in a line."""
    return plain(str(error)) or type(error).__name__


def plain(text: str) -> str:
    """The first line of what others say, without what a terminal would take for commands."""
    return "".join(filter(str.isprintable, text.strip().partition("\n")[0])).rstrip(".")
