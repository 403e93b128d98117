"""A ModelScope over HTTP: what `modelscope`'s client asks for, answered as the service was seen to answer."""

import hashlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from http.cookies import SimpleCookie
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from omlx.downloads.modelscope_client import ModelScope
from omlx.downloads.modelscope_repository import ModelScopeRepository
from omlx.downloads.modelscope_source import ModelScopeSource
from omlx.downloads.patience import Patience
from tests.fakes.file_server import GOOD, LARGE, FileHandler, FileServer, Repo, running

_BEGAN = 1_700_000_000  # when the first commit was made
_MOST = 50  # models of an answer


def checksum(content: bytes) -> str:
    """What is said of every content."""
    return hashlib.sha256(content).hexdigest()


def listing(repo: Repo, commit: str) -> dict[str, Any]:
    """What a recursive listing of a commit's files has, where each names the commit that changed it last."""
    history = list(repo.commits)[: list(repo.commits).index(commit) + 1]
    files: list[dict[str, Any]] = []
    for name, content in repo.commits[commit].items():
        changed = len(history) - 1
        while changed and repo.commits[history[changed - 1]].get(name) == content:
            changed -= 1
        files.append(
            {
                "Path": name,
                "Name": name.rpartition("/")[2],
                "Type": "blob",
                "Size": len(content),
                "Sha256": checksum(content),
                "IsLFS": len(content) >= LARGE,
                "Revision": history[changed],
                "CommittedDate": _BEGAN + changed,
            }
        )
    folders = {name.rpartition("/")[0] for name in repo.commits[commit] if "/" in name}
    files += [{"Path": each, "Name": each, "Type": "tree", "Size": 0, "Sha256": ""} for each in sorted(folders)]
    return {"Files": files, "IsVisual": 0, "LatestCommitter": {"Id": "", "ShortId": commit[:8]}}


def description(name: str, repo: Repo) -> dict[str, Any]:
    """What the newer routes say of a model."""
    library = [f"library:{repo.library}"] if repo.library else []
    return {
        "id": name,
        "display_name": name.rpartition("/")[2],
        "downloads": repo.downloads,
        "likes": repo.likes,
        "last_modified": repo.updated,
        "license": repo.card.get("license", ""),
        "private": repo.private,
        "gated": repo.gated,
        "tags": [*library, *repo.tags],
    }


class _Handler(FileHandler):
    def route(self, path: str, query: str) -> None:
        asked = {name: values[0] for name, values in parse_qs(query).items()}
        parts = path.split("/")
        if path == "openapi/v1/models":
            self._search(asked)
        elif path.startswith("openapi/v1/models/"):
            self._describe("/".join(parts[3:]))
        elif path.startswith("api/v1/models/") and len(parts) > 5:
            self._of_repository("/".join(parts[3:5]), "/".join(parts[5:]), asked)
        else:
            self._refuse(404, 10010205001, "record not found")

    def _of_repository(self, repo_id: str, what: str, asked: Mapping[str, str]) -> None:
        repo = self.server.repos.get(repo_id)
        if not self.is_known():
            self._refuse(401, 10010103009, "AccessToken is invalid or expired")
        elif repo is None:
            self._refuse(404, 10010205001, "record not found")
        elif (repo.private or repo.gated) and self.token() != GOOD:
            self._refuse(404, 10010200001, "no access")
        elif what == "revisions":
            branches = [{"Revision": each, "CreatedAt": _BEGAN} for each in repo.revisions]
            self._give({"RevisionMap": {"Branches": branches, "Tags": []}})
        elif (commit := repo.revisions.get(asked["Revision"], asked["Revision"])) not in repo.commits:
            self._give({"Files": None, "IsVisual": 0, "LatestCommitter": None})
        elif what == "repo/files":
            self._give(listing(repo, commit))
        elif asked["FilePath"] not in repo.commits[commit]:
            self._refuse(404, 10990101007, "获取模型文件失败，文件内容为空")  # noqa: RUF001 - as it says it
        else:
            self.found(repo_id, repo, commit, asked["FilePath"], {})

    def _search(self, asked: Mapping[str, str]) -> None:
        size = int(asked.get("page_size", 10))
        if self._bearer_is_unknown():
            return
        if size > _MOST:
            self.send_json({"success": False, "code": "InputParameterError", "message": "page_size"}, 400)
            return
        found = [
            description(name, repo)
            for name, repo in sorted(self.server.repos.items())
            if not (repo.private and self.bearer() != GOOD)
            and asked.get("filter.library") in (None, repo.library)
            and all(word in name.lower() for word in asked["search"].lower().split())
        ]
        if "sort" in asked:
            found.sort(key=lambda each: each[asked["sort"]], reverse=True)
        page = int(asked.get("page_number", 1))
        models = found[(page - 1) * size : page * size]
        self._give_new({"models": models, "total_count": len(found), "page_number": page, "page_size": size})

    def _describe(self, repo_id: str) -> None:
        repo = self.server.repos.get(repo_id)
        if self._bearer_is_unknown():
            return
        if repo is None or repo.private:
            self.send_json({"success": False, "code": "ResourceNotFound", "message": "not found"}, 404)
        else:
            self._give_new(description(repo_id, repo))

    def _bearer_is_unknown(self) -> bool:
        if unknown := not self.is_known():
            self.send_json({"success": False, "code": "InvalidAuthentication", "message": "invalid token"}, 401)
        return unknown

    def _give(self, data: object) -> None:
        self.send_json({"Code": 200, "Data": data, "Message": "success", "RequestId": "1", "Success": True})

    def _give_new(self, data: object) -> None:
        self.send_json({"success": True, "data": data, "request_id": "1"})

    def _refuse(self, status: int, code: int, message: str) -> None:
        self.send_json({"Code": code, "Data": None, "Message": message, "RequestId": "1", "Success": False}, status)

    def bearer(self) -> str | None:
        """What the newer routes go by."""
        return super().token()

    def token(self) -> str | None:
        """What is gone by: the older routes want a cookie."""
        if self.path.startswith("/openapi/"):
            return self.bearer()
        session = SimpleCookie(self.headers.get("cookie", "")).get("m_session_id")
        return session.value if session else None


class FakeModelScope(FileServer):
    """Answers as ModelScope does."""

    branch = "master"
    handler = _Handler
    kind = "modelscope"
    option = "--ms-endpoint"
    title = "ModelScope"
    variable = "MODELSCOPE_API_TOKEN"
    documents: ClassVar = {"search": "openapi/v1/models", "model": "api/v1/models/{}/repo/files"}

    def file_of(self, target: str) -> str:
        parts = urlsplit(target)
        return parse_qs(parts.query).get("FilePath", [parts.path])[0]

    def repository(self, name: str, revision: str | None = None, token: str | None = None, **where: Any) -> ModelScopeRepository:
        """One of its models, as it is fetched."""
        return ModelScopeRepository(ModelScope(where.pop("endpoint", self.url), token, **where), name, revision)

    def source(self, token: str | None = None, patience: Patience | None = None, **where: Any) -> ModelScopeSource:
        """It, as it is searched."""
        return ModelScopeSource(ModelScope(where.pop("endpoint", self.url), token, **where), patience)


def fake_modelscope() -> AbstractContextManager[FakeModelScope]:
    """One that runs."""
    return running(FakeModelScope)
