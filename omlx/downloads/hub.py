"""The Hugging Face Hub, or a mirror of it, as a place that models come from. Requests are made by `huggingface_hub`'s own client."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx2
from huggingface_hub import HfApi, get_session, hf_hub_url, hf_raise_for_status
from huggingface_hub.hf_api import ModelInfo, RepoSibling
from huggingface_hub.utils import build_hf_headers

from omlx import __version__
from omlx.downloads.checksum import Checksum
from omlx.downloads.errors import EndpointError
from omlx.downloads.hub_errors import Asked, told
from omlx.downloads.repository import Body, Listing, Origin, RemoteFile

DEFAULT_ENDPOINT = "https://huggingface.co"
SOURCE = "hf"
_LIBRARY = "omlx"
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


@dataclass(frozen=True, slots=True)
class Hub:
    """Where a hub is, and how it is asked.

    Attributes:
        endpoint: Its URL, without a slash at the end.
        token: Opens private and gated repositories; never part of what is printed.
        connect_seconds, read_seconds: How long a connection, and the next bytes of an answer, may take.
    """

    endpoint: str = DEFAULT_ENDPOINT
    token: str | None = field(default=None, repr=False)
    connect_seconds: float = 10
    read_seconds: float = 30

    @property
    def api(self) -> HfApi:
        """A client for what isn't a file's content."""
        return HfApi(self.endpoint, token=self._token, library_name=_LIBRARY, library_version=__version__)

    @property
    def headers(self) -> dict[str, str]:
        """What each request for a file says of itself."""
        headers = build_hf_headers(token=self._token, library_name=_LIBRARY, library_version=__version__)
        # A compressed file couldn't be continued: the places in it are those of the compressed bytes.
        return {**headers, "Accept-Encoding": "identity"}

    @property
    def timeout(self) -> httpx2.Timeout:
        """The time limits of each request."""
        return httpx2.Timeout(self.read_seconds, connect=self.connect_seconds)

    @property
    def _token(self) -> str | bool:
        return self.token or False  # which keeps the library from looking for one itself


class HubRepository:
    """One model on a hub, at one revision; see `repository.Repository`."""

    def __init__(self, hub: Hub, repo_id: str, revision: str | None = None) -> None:
        self.origin = Origin(SOURCE, repo_id, revision)
        self._hub = hub
        self._asked = Asked(hub.endpoint, repo_id, revision, has_token=hub.token is not None)

    def listing(self) -> Listing:
        """All its files, by the commit that the revision names now."""
        return self.described()[1]

    def described(self) -> tuple[ModelInfo, Listing]:
        """What the hub says of it, and its files. Raises as `listing` does."""
        session()
        with told(self._asked):
            info = self._hub.api.model_info(
                self.origin.repository, revision=self.origin.revision, files_metadata=True, timeout=self._hub.read_seconds
            )
            files = tuple(_remote_file(each) for each in info.siblings or ())
            if not re.fullmatch(r"[0-9a-f]{40}", info.sha or ""):
                raise ValueError("it names no commit")
            return info, Listing(str(info.sha), files)

    @contextmanager
    def read(self, commit: str, file: RemoteFile, offset: int) -> Iterator[Body]:
        """A file's content from an offset on."""
        url = hf_hub_url(self.origin.repository, file.path, revision=commit, endpoint=self._hub.endpoint)
        headers = self._hub.headers | ({"Range": f"bytes={offset}-"} if offset else {})
        with (
            told(self._asked, file.path),
            session().stream("GET", url, headers=headers, timeout=self._hub.timeout) as response,
        ):
            hf_raise_for_status(response)
            yield Body(self._start(response, file, offset), response.iter_bytes())

    def _start(self, response: httpx2.Response, file: RemoteFile, offset: int) -> int:
        """Where in a file an answer begins. Raises `EndpointError` if it isn't that file."""
        kind = response.headers.get("content-type", "")
        if kind.startswith("text/html") and not file.path.endswith((".html", ".htm")):
            raise EndpointError(f"{self._hub.endpoint} sent a web page instead of {file.path}. {_ADVICE}")
        encoded = "content-encoding" in response.headers
        if response.status_code == httpx2.codes.PARTIAL_CONTENT:
            match = _RANGE.fullmatch(response.headers.get("content-range", ""))
            if match is None or int(match[1]) != offset or match[2] not in ("*", str(file.size)) or encoded:
                raise EndpointError(f"{self._hub.endpoint} sent another part of {file.path} than was asked for. {_ADVICE}")
            return offset
        length = response.headers.get("content-length")
        if length is not None and not encoded and length != str(file.size):
            raise EndpointError(
                f"{self._hub.endpoint} sends {length} bytes for {file.path}, and its list of files says {file.size}. {_ADVICE}"
            )
        return 0


_ADVICE = "If it is a mirror, try another one or none (--hf-endpoint)."


def session() -> httpx2.Client:
    """The library's shared client. Raises `EndpointError` when what the environment says of proxies or certificates can't be."""
    try:
        return get_session()
    except Exception as error:
        raise EndpointError(
            f"No request can be made: {error}. Check HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR."
        ) from error


def _remote_file(sibling: RepoSibling) -> RemoteFile:
    """A file as the hub describes it. Raises `ValueError` when it doesn't."""
    path, size, checksum = sibling.rfilename, sibling.size, sibling.lfs.sha256 if sibling.lfs else sibling.blob_id
    if not isinstance(path, str) or type(size) is not int or size < 0 or not isinstance(checksum, str):
        raise ValueError(f"it says no size and checksum of {path!a}")
    return RemoteFile(path, size, Checksum(checksum))
