"""Each error of a download as HTTP has it."""

from collections.abc import Mapping

from omlx.api.errors import RequestError

# By the names of the classes in `omlx.downloads.errors`: they come from another process.
_KINDS: Mapping[str, tuple[int, str]] = {
    "UnknownModelError": (404, "model_not_found"),
    "UnknownRevisionError": (404, "revision_not_found"),
    "UnknownTaskError": (404, "download_not_found"),
    "AccessError": (403, "access_denied"),
    "UnsuitableError": (400, "unsuitable_model"),
    "OccupiedError": (409, "occupied"),
    "TooManyError": (429, "too_many_downloads"),
    "StorageError": (507, "storage_failed"),
    "EndpointError": (502, "hub_failed"),
    "ChecksumError": (502, "hub_failed"),
    "UnreachableError": (502, "hub_failed"),
    "TransientError": (502, "hub_failed"),
    "OfflineError": (503, "offline"),
    "BrokenOffError": (503, "downloads_unavailable"),
}
_UNFORESEEN = (500, "internal_error")


def refusal(name: str, message: str) -> RequestError:
    """What to tell a client of an error, by its class's name and its text."""
    status, code = _KINDS.get(name, _UNFORESEEN)
    return RequestError(message, code=code, status=status)
