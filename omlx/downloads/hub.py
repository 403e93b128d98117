"""The Hugging Face Hub, or a mirror of it, as a place that models come from. Requests are made by `huggingface_hub`'s own client."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx2
from huggingface_hub import HfApi, hf_hub_url, hf_raise_for_status
from huggingface_hub.hf_api import ModelInfo, RepoSibling
from huggingface_hub.utils import build_hf_headers

from omlx import __version__
from omlx.downloads.checksum import Checksum
from omlx.downloads.file_answer import body_of, part_headers
from omlx.downloads.hub_errors import KIND, told
from omlx.downloads.repository import Body, Listing, Origin, RemoteFile
from omlx.downloads.web import Asked, session

DEFAULT_ENDPOINT = "https://huggingface.co"
SOURCE = "hf"
_LIBRARY = "omlx"


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
        """What each request says of itself."""
        return build_hf_headers(token=self._token, library_name=_LIBRARY, library_version=__version__)

    @property
    def timeout(self) -> httpx2.Timeout:
        """The time limits of each request."""
        return httpx2.Timeout(self.read_seconds, connect=self.connect_seconds)

    def asked(self, repository: str | None, revision: str | None = None) -> Asked:
        """A question to it, for its errors."""
        return Asked(KIND, self.endpoint, repository, revision, has_token=self.token is not None)

    @property
    def _token(self) -> str | bool:
        return self.token or False  # which keeps the library from looking for one itself


class HubRepository:
    """One model on a hub, at one revision; see `repository.Repository`."""

    def __init__(self, hub: Hub, repo_id: str, revision: str | None = None) -> None:
        self.origin = Origin(SOURCE, repo_id, revision)
        self._hub = hub
        self._asked = hub.asked(repo_id, revision)

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
        headers = self._hub.headers | part_headers(offset)
        with (
            told(self._asked, file.path),
            session().stream("GET", url, headers=headers, timeout=self._hub.timeout) as response,
        ):
            hf_raise_for_status(response)
            yield body_of(response, self._asked, file, offset)


def _remote_file(sibling: RepoSibling) -> RemoteFile:
    """A file as the hub describes it. Raises `ValueError` when it doesn't."""
    path, size, checksum = sibling.rfilename, sibling.size, sibling.lfs.sha256 if sibling.lfs else sibling.blob_id
    if not isinstance(path, str) or type(size) is not int or size < 0 or not isinstance(checksum, str):
        raise ValueError(f"it says no size and checksum of {path!a}")
    return RemoteFile(path, size, Checksum(checksum))
