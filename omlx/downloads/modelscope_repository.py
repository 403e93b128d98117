"""One model on ModelScope, at one revision: its files, and their content."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from omlx.downloads.checksum import Checksum
from omlx.downloads.errors import EndpointError, UnknownModelError, UnknownRevisionError
from omlx.downloads.file_answer import body_of, part_headers
from omlx.downloads.modelscope_client import ModelScope
from omlx.downloads.modelscope_errors import refuse, told
from omlx.downloads.repository import Body, Listing, Origin, RemoteFile
from omlx.downloads.web import session

SOURCE = "modelscope"
_BRANCH = "master"  # as the client has it, where none is named
_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # SHA-256 of no bytes


class ModelScopeRepository:
    """See `repository.Repository`."""

    def __init__(self, place: ModelScope, name: str, revision: str | None = None) -> None:
        self.origin = Origin(SOURCE, name, revision)
        self._place = place
        self._asked = place.asked(name, revision)

    def listing(self) -> Listing:
        """All its files, by a commit that the revision has now."""
        name, revision = self.origin.repository, self.origin.revision
        if not _NAME.fullmatch(name):
            raise UnknownModelError(f"'{name}' is no name of a model on ModelScope: they look like organization/model.")
        from modelscope_hub.constants import LEGACY_API_PREFIX, REPO_FILES_TRUNCATION_LIMIT

        query = {"Revision": revision or _BRANCH, "Recursive": "True"}
        found = self._place.document(self._asked, f"{LEGACY_API_PREFIX}/models/{name}/repo/files", query)
        with told(self._asked):
            files = found["Files"]
            if not files:  # it has no other way to say so
                raise UnknownRevisionError(
                    f"{name} has no revision '{revision}'."
                    if revision
                    else f"{name} has no files at its revision '{_BRANCH}'. Name another one with --revision."
                )
            if len(files) >= REPO_FILES_TRUNCATION_LIMIT:
                raise EndpointError(f"{name} has {len(files)} files or more, and {self._place.endpoint} lists no more of them.")
            blobs = [each for each in files if each["Type"] == "blob"]
            return Listing(_commit(found.get("LatestCommitter") or {}, blobs), tuple(map(_remote_file, blobs)))

    @contextmanager
    def read(self, commit: str, file: RemoteFile, offset: int) -> Iterator[Body]:
        """A file's content from an offset on."""
        url = self._place.api.legacy.get_download_url(self.origin.repository, "model", file.path, commit)
        headers = self._place.headers | part_headers(offset)
        with (
            told(self._asked, file.path),
            session().stream("GET", url, headers=headers, timeout=self._place.timeout) as response,
        ):
            refuse(response, self._asked, file.path)
            yield body_of(response, self._asked, file, offset)


def _commit(latest: Mapping[str, Any], blobs: Sequence[Mapping[str, Any]]) -> str:
    """A commit that has just these files. Raises `ValueError` when none is named.

    Of the revision's own commit, most answers have the beginning alone. Each file has the commit that changed it last, whole, and
    the newest of those is the revision's own, or one that since then has lost nothing but files.
    """
    if _COMMIT.fullmatch(str(latest.get("Id"))):
        return str(latest["Id"])
    dates = {str(each.get("Revision")): int(each.get("CommittedDate") or 0) for each in blobs}
    commits = [commit for commit in dates if _COMMIT.fullmatch(commit)]
    if not commits:
        raise ValueError("it names no commit")
    short = str(latest.get("ShortId") or "-")
    return next((commit for commit in commits if commit.startswith(short)), max(commits, key=lambda commit: dates[commit]))


def _remote_file(blob: Mapping[str, Any]) -> RemoteFile:
    """A file as it is described. Raises `ValueError` when it isn't."""
    path, size, checksum = blob.get("Path"), blob.get("Size"), blob.get("Sha256") or (None if blob.get("Size") else _EMPTY)
    if not isinstance(path, str) or type(size) is not int or size < 0 or not isinstance(checksum, str):
        raise ValueError(f"it says no size and checksum of {path!a}")
    return RemoteFile(path, size, Checksum(checksum.lower()))
