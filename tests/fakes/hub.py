"""A Hugging Face Hub over HTTP: what `huggingface_hub`'s client asks for, with faults to order."""

import gzip
import hashlib
import json
import socket
import threading
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

GOOD = "hf_good"  # has access to everything
PLAIN = "hf_plain"  # has access to what isn't gated or private
_PIECE = 1 << 14
_LARGE = 1 << 10  # bytes from which a file is kept in LFS
_PAGE = b"<!doctype html><title>Welcome</title>"


@dataclass(frozen=True)
class Cut:
    """The connection ends after so many bytes of this answer."""

    after: int


@dataclass(frozen=True)
class Stall:
    """Nothing more comes after so many bytes of this answer, until `may_go_on` is set."""

    after: int


@dataclass(frozen=True)
class Refuse:
    """A status instead of the file."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Wrong:
    """Another content, from wherever it was asked for."""

    content: bytes


@dataclass(frozen=True)
class Page:
    """A web page instead of the file."""


@dataclass(frozen=True)
class Whole:
    """The whole file, whatever part was asked for."""


@dataclass(frozen=True)
class Zipped:
    """The whole file, or another content, compressed although nobody asked for that."""

    content: bytes | None = None


@dataclass(frozen=True)
class Part:
    """The part that was asked for, with other headers."""

    headers: Mapping[str, str]


@dataclass
class Repo:
    """A repository: files by commit, commits by revision, and what the hub says of it."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    revisions: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    private: bool = False
    downloads: int = 0
    likes: int = 0
    updated: str = "2025-01-01T00:00:00.000Z"
    library: str | None = None
    tags: tuple[str, ...] = ()
    card: Mapping[str, object] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)  # of numbers in its safetensors files, by dtype

    def properties(self) -> dict[str, object]:
        """What is said of it in a search, where that is asked for, and of it alone."""
        return {
            "private": self.private,
            "gated": "manual" if self.gated else False,
            "downloads": self.downloads,
            "likes": self.likes,
            "lastModified": self.updated,
            "tags": [*([self.library] if self.library else []), *self.tags],
            **({"library_name": self.library} if self.library else {}),
        }


@dataclass(frozen=True)
class Request:
    """What was asked."""

    method: str
    path: str
    headers: Mapping[str, str]


class FakeHub(ThreadingHTTPServer):
    """Answers as the hub does.

    Attributes:
        url: Its endpoint.
        faults: For the next requests of a file's content, by its path, or of `api/…`, which can be refused alone; None answers well.
        sent: Bytes of contents that were sent, by path.
        requests: All that was asked.
        stalled: Set when an answer stalls.
        may_go_on: Cleared, stalling answers wait.
        everything: What every request is answered with: `page`, `missing`, a `Refuse`, a `Stall`, or None for what it should be.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.store = f"http://localhost:{self.server_address[1]}/store"  # another host, so another origin
        self.repos: dict[str, Repo] = {}
        self.faults: dict[str, deque] = defaultdict(deque)
        self.sent: dict[str, int] = defaultdict(int)
        self.requests: list[Request] = []
        self.stalled = threading.Event()
        self.may_go_on = threading.Event()
        self.everything: object = None
        self.lock = threading.Lock()

    def add(self, repo_id: str, files: Mapping[str, bytes], *, revision: str = "main", **more: Any) -> str:
        """Commit files to a repository's revision; the commit."""
        repo = self.repos.setdefault(repo_id, Repo(**more))
        commit = hashlib.sha1(
            repr((repo_id, revision, len(repo.commits), sorted(files.items()))).encode(), usedforsecurity=False
        ).hexdigest()
        repo.commits[commit] = dict(files)
        repo.revisions[revision] = commit
        return commit

    def fault(self, path: str, *faults: object) -> None:
        """What goes wrong with the next requests of a file."""
        self.faults[path].extend(faults)

    def asked(self, path: str) -> list[Request]:
        """The requests of a file's content, where it lies."""
        return [each for each in self.requests if each.method == "GET" and each.path.partition("?")[0].endswith(path)]

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever asked may have left."""


def checksum(content: bytes) -> str:
    """What the hub says of a content: SHA-256 in LFS, else Git's SHA-1."""
    if len(content) >= _LARGE:
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    server: FakeHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def _answer(self) -> None:
        hub = self.server
        with hub.lock:
            hub.requests.append(Request(self.command, self.path, dict(self.headers.items())))
        parts = urlsplit(self.path)
        path = unquote(parts.path).strip("/")
        if hub.everything == "page":
            self._send(200, _PAGE, {"content-type": "text/html; charset=utf-8"})
        elif hub.everything == "missing":
            self._send(404, b"Not Found", {"content-type": "text/plain"})
        elif isinstance(hub.everything, Refuse):
            self._send(hub.everything.status, b"", hub.everything.headers)
        elif isinstance(hub.everything, Stall):
            hub.may_go_on.wait()
        elif path.startswith("api/") and (fault := self._fault(path)):
            self._send(fault.status, b"", fault.headers)
        elif path == "api/models":
            self._search(parse_qs(parts.query))
        elif path.startswith("store/"):
            repo_id, _, rest = path.removeprefix("store/").partition("/at/")
            commit, _, name = rest.partition("/")
            self._content(name, hub.repos[repo_id].commits[commit][name])
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
        if self._token() not in (None, GOOD, PLAIN):
            self._refuse(401, "", "Invalid credentials in Authorization header")
            return
        words, wanted = query["search"][0].lower().split(), set(query.get("filter", []))
        found = []
        for name, repo in self.server.repos.items():
            properties = repo.properties()
            if (repo.private and self._token() != GOOD) or not wanted <= {*properties["tags"], repo.library}:
                continue
            if all(word in name.lower() for word in words):
                found.append({"id": name, **properties})
        found.sort(key=lambda each: str(each["id"]))
        if "sort" in query:
            found.sort(key=lambda each: each[query["sort"][0]], reverse=True)
        # What isn't asked for is not said, but for a few.
        said = {"id", *query.get("expand", ["likes", "private", "downloads", "tags", "library_name"])}
        found = [
            {key: value for key, value in each.items() if key in said} for each in found[: int(query.get("limit", ["1000"])[0])]
        ]
        self._send(200, json.dumps(found).encode(), {"content-type": "application/json"})

    def _fault(self, name: str) -> Any:
        faults = self.server.faults[name]
        return faults.popleft() if faults and self.command == "GET" else None

    def _find(self, repo_id: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """A commit and its files, or None after a refusal was sent."""
        repo, token = self.server.repos.get(repo_id), self._token()
        if token not in (None, GOOD, PLAIN):
            self._refuse(401, "", "Invalid credentials in Authorization header")
        elif repo is None or (repo.private and token != GOOD):
            if token is None:
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
            lfs = {"size": len(content), "sha256": checksum(content), "pointerSize": 130} if len(content) >= _LARGE else None
            pointer = hashlib.sha1(content, usedforsecurity=False).hexdigest()  # of LFS, Git knows a pointer alone
            siblings.append(
                {"rfilename": name, "size": len(content)}
                | ({"blobId": pointer, "lfs": lfs} if lfs else {"blobId": checksum(content)})
            )
        repo = self.server.repos[repo_id]
        info = {"id": repo_id, "modelId": repo_id, "sha": commit, "siblings": siblings, **repo.properties()}
        if repo.card:
            info["cardData"] = repo.card
        if repo.counts:
            info["safetensors"] = {"parameters": repo.counts, "total": sum(repo.counts.values())}
        self._send(200, json.dumps(info).encode(), {"content-type": "application/json"})

    def _resolve(self, repo_id: str, revision: str, name: str) -> None:
        if (found := self._find(repo_id, revision)) is None:
            return
        commit, files = found
        if self.server.repos[repo_id].gated and self._token() != GOOD:
            self._refuse(401 if self._token() is None else 403, "GatedRepo", "Access to this model is restricted.")
        elif name not in files:
            self._refuse(404, "EntryNotFound", "Entry not found")
        elif len(files[name]) >= _LARGE:
            etag = f'"{checksum(files[name])}"'
            place = f"{self.server.store}/{repo_id}/at/{commit}/{name}"
            told = {"location": place, "x-repo-commit": commit, "x-linked-etag": etag, "x-linked-size": str(len(files[name]))}
            self._send(302, b"", told)
        else:
            self._content(name, files[name], {"x-repo-commit": commit})

    def _content(self, name: str, content: bytes, more: Mapping[str, str] | None = None) -> None:
        fault = self._fault(name)
        headers = {"etag": f'"{checksum(content)}"', "accept-ranges": "bytes", "content-type": "application/octet-stream"}
        headers |= more or {}
        if isinstance(fault, Refuse):
            self._send(fault.status, b"", fault.headers)
            return
        if isinstance(fault, Page):
            self._send(200, _PAGE, {"content-type": "text/html"})
            return
        if isinstance(fault, Wrong):
            content = fault.content
        status, start = 200, 0
        wanted = self.headers.get("range")
        if isinstance(fault, Zipped):
            content = gzip.compress(content if fault.content is None else fault.content)
            headers["content-encoding"] = "gzip"
        elif wanted and not isinstance(fault, Whole):
            status, start = 206, int(wanted.removeprefix("bytes=").rstrip("-"))
            headers["content-range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if isinstance(fault, Part):
            headers |= fault.headers
        after = fault.after if isinstance(fault, Cut | Stall) else len(content)
        self._head(status, len(content) - start, headers)
        if self.command == "HEAD":
            return
        self._body(name, content[start : start + after])
        if isinstance(fault, Stall):
            self.server.stalled.set()
            self.server.may_go_on.wait()
            self._body(name, content[start + after :])
        elif isinstance(fault, Cut):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    def _body(self, name: str, data: bytes) -> None:
        for begin in range(0, len(data), _PIECE):
            piece = data[begin : begin + _PIECE]
            self.wfile.write(piece)
            with self.server.lock:
                self.server.sent[name] += len(piece)

    def _refuse(self, status: int, code: str, message: str = "") -> None:
        headers = {"x-error-message": message} | ({"x-error-code": code} if code else {})
        self._send(status, json.dumps({"error": message}).encode(), {**headers, "content-type": "application/json"})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self._head(status, len(body), headers)
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: int, length: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        self.send_header("content-length", str(length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _token(self) -> str | None:
        given = self.headers.get("authorization")
        return given.removeprefix("Bearer ") if given else None


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    """One that runs, and that stalls no longer at the end."""
    server = FakeHub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.may_go_on.set()
        server.shutdown()
        thread.join()
        server.server_close()
