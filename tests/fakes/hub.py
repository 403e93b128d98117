"""A Hugging Face Hub over HTTP: what `huggingface_hub`'s client asks for."""

import hashlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar
from urllib.parse import parse_qs

from omlx.downloads.hub import Hub, HubRepository
from omlx.downloads.hub_source import HubSource
from omlx.downloads.patience import Patience
from tests.fakes.file_server import GOOD, LARGE, FileHandler, FileServer, Repo, running


def checksum(content: bytes) -> str:
    """What the hub says of a content: SHA-256 in LFS, else Git's SHA-1."""
    if len(content) >= LARGE:
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _properties(repo: Repo) -> dict[str, object]:
    """What is said of a repository in a search, where that is asked for, and of it alone."""
    return {
        "private": repo.private,
        "gated": "manual" if repo.gated else False,
        "downloads": repo.downloads,
        "likes": repo.likes,
        "lastModified": repo.updated,
        "tags": [*([repo.library] if repo.library else []), *repo.tags],
        **({"library_name": repo.library} if repo.library else {}),
    }


class _Handler(FileHandler):
    def route(self, path: str, query: str) -> None:
        if path == "api/models":
            self._search(parse_qs(query))
        elif path.startswith("api/models/"):
            repo_id, _, revision = path.removeprefix("api/models/").partition("/revision/")
            self._info(repo_id, revision or "main")
        elif "/resolve/" in path:
            repo_id, _, rest = path.partition("/resolve/")
            revision, _, name = rest.partition("/")
            self._resolve(repo_id, revision, name)
        else:
            self._refuse(404, "")

    def _search(self, query: Mapping[str, list[str]]) -> None:
        if not self.is_known():
            self._refuse(401, "", "Invalid credentials in Authorization header")
            return
        words, wanted = query["search"][0].lower().split(), set(query.get("filter", []))
        found = []
        for name, repo in self.server.repos.items():
            properties = _properties(repo)
            if (repo.private and self.token() != GOOD) or not wanted <= {*properties["tags"], repo.library}:
                continue
            if all(word in name.lower() for word in words):
                found.append({"id": name, **properties})
        found.sort(key=lambda each: str(each["id"]))
        if "sort" in query:
            found.sort(key=lambda each: each[query["sort"][0]], reverse=True)
        # What isn't asked for is not said, but for a few.
        said = {"id", *query.get("expand", ["likes", "private", "downloads", "tags", "library_name"])}
        self.send_json(
            [{key: value for key, value in each.items() if key in said} for each in found[: int(query.get("limit", ["1000"])[0])]]
        )

    def _find(self, repo_id: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """A commit and its files, or None after a refusal was sent."""
        repo = self.server.repos.get(repo_id)
        if not self.is_known():
            self._refuse(401, "", "Invalid credentials in Authorization header")
        elif repo is None or (repo.private and self.token() != GOOD):
            if self.token() is None:
                self._refuse(401, "RepoNotFound", "Invalid username or password.")
            else:
                self._refuse(404, "RepoNotFound", "Repository not found")
        elif (commit := repo.revisions.get(revision, revision)) not in repo.commits:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        else:
            return commit, repo.commits[commit]
        return None

    def _info(self, repo_id: str, revision: str) -> None:
        if (found := self._find(repo_id, revision)) is None:
            return
        commit, files = found
        siblings = []
        for name, content in files.items():
            lfs = {"size": len(content), "sha256": checksum(content), "pointerSize": 130} if len(content) >= LARGE else None
            pointer = hashlib.sha1(content, usedforsecurity=False).hexdigest()  # of LFS, Git knows a pointer alone
            siblings.append(
                {"rfilename": name, "size": len(content)}
                | ({"blobId": pointer, "lfs": lfs} if lfs else {"blobId": checksum(content)})
            )
        repo = self.server.repos[repo_id]
        info = {"id": repo_id, "modelId": repo_id, "sha": commit, "siblings": siblings, **_properties(repo)}
        if repo.card:
            info["cardData"] = repo.card
        if repo.counts:
            info["safetensors"] = {"parameters": repo.counts, "total": sum(repo.counts.values())}
        self.send_json(info)

    def _resolve(self, repo_id: str, revision: str, name: str) -> None:
        if (found := self._find(repo_id, revision)) is None:
            return
        commit, files = found
        repo = self.server.repos[repo_id]
        if repo.gated and self.token() != GOOD:
            self._refuse(401 if self.token() is None else 403, "GatedRepo", "Access to this model is restricted.")
        elif name not in files:
            self._refuse(404, "EntryNotFound", "Entry not found")
        else:
            told = {"x-repo-commit": commit}
            if len(files[name]) >= LARGE:
                told |= {"x-linked-etag": f'"{checksum(files[name])}"', "x-linked-size": str(len(files[name]))}
            self.found(repo_id, repo, commit, name, told)

    def _refuse(self, status: int, code: str, message: str = "") -> None:
        headers = {"x-error-message": message} | ({"x-error-code": code} if code else {})
        self.send_json({"error": message}, status, headers)


class FakeHub(FileServer):
    """Answers as the hub does."""

    branch = "main"
    handler = _Handler
    kind = "hf"
    option = "--hf-endpoint"
    title = "the Hugging Face Hub"
    variable = "HF_TOKEN"
    documents: ClassVar = {"search": "api/models", "model": "api/models/{}"}

    def repository(self, name: str, revision: str | None = None, token: str | None = None, **where: Any) -> HubRepository:
        """One of its models, as it is fetched."""
        return HubRepository(Hub(where.pop("endpoint", self.url), token, **where), name, revision)

    def source(self, token: str | None = None, patience: Patience | None = None, **where: Any) -> HubSource:
        """It, as it is searched."""
        return HubSource(Hub(where.pop("endpoint", self.url), token, **where), patience)


def fake_hub() -> AbstractContextManager[FakeHub]:
    """One that runs."""
    return running(FakeHub)
