"""What `huggingface_hub` and its HTTP client raise, in our words."""

import email.utils
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx2
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import parse_ratelimit_headers

from omlx.downloads.errors import (
    AccessError,
    EndpointError,
    OfflineError,
    TransientError,
    UnknownModelError,
    UnknownRevisionError,
)

_HOW_TO_LOG_IN = "A token is taken from HF_TOKEN, from `omlx token set hf`, or from where `hf auth login` keeps it."
_REFUSED = "Invalid credentials"  # as the hub words it


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked of a hub: where, for which repository and revision, and whether with a token.

    Attributes:
        repository: None where all of them are searched.
    """

    endpoint: str
    repository: str | None
    revision: str | None
    has_token: bool

    @property
    def name(self) -> str:
        """What it was asked for, within a sentence."""
        return self.repository or "its models"


@contextmanager
def told(asked: Asked, path: str | None = None) -> Iterator[None]:
    """Turn what is raised inside, while a listing or the file of a path is asked for, into `DownloadError` or `TransientError`."""
    try:
        yield
    except HFValidationError as error:
        raise UnknownModelError(
            f"'{asked.repository}' is no name of a model on Hugging Face: they look like organization/model."
        ) from error
    except OfflineModeIsEnabled as error:
        raise OfflineError(
            f"{asked.repository or asked.endpoint} can't be reached: offline mode is on. Unset HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE)."
        ) from error
    except HfHubHTTPError as error:
        raise _of_status(error, asked, path) from error
    except httpx2.HTTPError as error:
        raise _of_line(error, asked) from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, httpx2.InvalidURL) as error:
        if path is not None:
            raise
        raise EndpointError(
            f"{asked.endpoint} doesn't answer as the Hugging Face Hub does ({_first_line(error)}). "
            "Check the address: --hf-endpoint, OMLX_HF_ENDPOINT, HF_ENDPOINT or the setting hf_endpoint."
        ) from error


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that an answer asks to wait, from `Retry-After` in either form or the hub's own `RateLimit`."""
    value = headers.get("retry-after", "").strip()
    if value.isdigit():
        return float(value)
    try:
        return max((email.utils.parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds(), 0)
    except (ValueError, TypeError):
        pass
    limit = parse_ratelimit_headers(headers)
    return float(limit.reset_in_seconds) if limit is not None and limit.remaining == 0 else None


def _of_status(error: HfHubHTTPError, asked: Asked, path: str | None) -> Exception:
    status, headers = error.response.status_code, error.response.headers
    if status in (408, 429) or status >= 500:
        return TransientError(f"{asked.endpoint} answered {status}", retry_after(headers))
    if isinstance(error, GatedRepoError):
        return AccessError(
            f"{asked.repository} is gated: its authors ask for an agreement. "
            + (
                f"The token that was sent has no access yet. Ask for it on {asked.endpoint}/{asked.repository}, then try again."
                if asked.has_token
                else f"Accept it on {asked.endpoint}/{asked.repository}, then try again with a token. {_HOW_TO_LOG_IN}"
            )
        )
    if isinstance(error, RevisionNotFoundError):
        return UnknownRevisionError(f"{asked.repository} has no revision '{asked.revision}'.")
    if isinstance(error, EntryNotFoundError):
        return UnknownRevisionError(f"{asked.repository} has no file {path!a} any more. Try again.")
    if status == 401 and _REFUSED in headers.get("x-error-message", ""):
        return AccessError(f"{asked.endpoint} refused the token. It may have expired. {_HOW_TO_LOG_IN}")
    if asked.repository is not None and (isinstance(error, RepositoryNotFoundError) or status == 401):
        # The hub doesn't tell what exists from what may not be seen.
        hidden = "or the token has no access to it" if asked.has_token else f"or it is private. {_HOW_TO_LOG_IN}"
        return UnknownModelError(f"There is no model {asked.repository} on {asked.endpoint}, {hidden.rstrip('.')}.")
    if status in (401, 403):
        said = f" ({_plain(error.server_message)})" if error.server_message else ""
        return AccessError(f"{asked.endpoint} gives no access to {asked.name}{said}.")
    return EndpointError(
        f"{asked.endpoint} answered {status} for {path or asked.name}, and not as the Hugging Face Hub does. "
        "Check the address (--hf-endpoint) and the model's name."
    )


def _of_line(error: httpx2.HTTPError, asked: Asked) -> Exception:
    text = _first_line(error)
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


def _first_line(error: Exception) -> str:
    return _plain(str(error)) or type(error).__name__


def _plain(text: str) -> str:
    """The first line of what others say, without what a terminal would take for commands."""
    return "".join(filter(str.isprintable, text.strip().partition("\n")[0])).rstrip(".")
