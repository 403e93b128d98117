"""What `huggingface_hub` and the hub say of a request that failed, in our words."""

from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from omlx.downloads.errors import AccessError, UnknownModelError, UnknownRevisionError
from omlx.downloads.web import Asked, Kind, busy, failures_told, plain, strange

KIND = Kind("the Hugging Face Hub", "--hf-endpoint", "OMLX_HF_ENDPOINT, HF_ENDPOINT or the setting hf_endpoint")
_HOW_TO_LOG_IN = "A token is taken from HF_TOKEN, from `omlx token set hf`, or from where `hf auth login` keeps it."
_REFUSED = "Invalid credentials"  # as the hub words it


@contextmanager
def told(asked: Asked, path: str | None = None) -> Iterator[None]:
    """Turn what is raised inside, while a listing or the file of a path is asked for, into `DownloadError` or `TransientError`."""
    with failures_told(asked, path):
        try:
            yield
        except HFValidationError as error:
            raise UnknownModelError(
                f"'{asked.repository}' is no name of a model on Hugging Face: they look like organization/model."
            ) from error
        except HfHubHTTPError as error:
            raise _of_status(error, asked, path) from error


def _of_status(error: HfHubHTTPError, asked: Asked, path: str | None) -> Exception:
    status, headers = error.response.status_code, error.response.headers
    if (later := busy(asked, status, headers)) is not None:
        return later
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
        said = f" ({plain(error.server_message)})" if error.server_message else ""
        return AccessError(f"{asked.endpoint} gives no access to {asked.name}{said}.")
    return strange(asked, status, path)
