"""A place that models come from over HTTP: repositories, contents by ranges, and faults to order. What it is asked differs by place."""

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
from typing import Any, ClassVar, TypeVar
from urllib.parse import unquote, urlsplit

GOOD = "good-token"  # has access to everything
PLAIN = "plain-token"  # has access to what isn't gated or private
LARGE = 1 << 10  # bytes from which a file is kept in LFS
_PIECE = 1 << 14
_PAGE = b"<!doctype html><title>Welcome</title>"
_JSON = {"content-type": "application/json"}


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
    """A repository: files by commit, commits by revision, and what is said of it."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)  # the oldest first
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


@dataclass(frozen=True)
class Request:
    """What was asked."""

    method: str
    path: str
    headers: Mapping[str, str]


class FileServer(ThreadingHTTPServer):
    """Answers as a place does.

    Attributes:
        url: Its endpoint.
        branch: The main one.
        faults: For the next requests of a file's content, by its path, or of a document, by its own, which can be refused alone;
            None answers well.
        sent: Bytes of contents that were sent, by path.
        requests: All that was asked.
        stalled: Set when an answer stalls.
        may_go_on: Cleared, stalling answers wait.
        everything: What every request is answered with: `page`, `missing`, a `Refuse`, a `Stall`, or None for what it should be.
    """

    daemon_threads = True
    request_queue_size = 64
    branch: ClassVar[str]
    handler: ClassVar[type["FileHandler"]]

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), self.handler)
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

    def add(self, repo_id: str, files: Mapping[str, bytes], *, revision: str | None = None, **more: Any) -> str:
        """Commit files to a repository's revision; the commit."""
        repo = self.repos.setdefault(repo_id, Repo(**more))
        revision = revision or self.branch
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
        return [each for each in self.requests if each.method == "GET" and self.file_of(each.path).endswith(path)]

    def file_of(self, target: str) -> str:
        """What ends with a file's path, in a request for its content."""
        return target.partition("?")[0]

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever asked may have left."""


class FileHandler(BaseHTTPRequestHandler):
    """What is the same wherever models come from. A place answers `route`."""

    server: FileServer
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def route(self, path: str, query: str) -> None:
        """Answer what is asked by a path without slashes at its ends."""
        raise NotImplementedError

    def _answer(self) -> None:
        server = self.server
        with server.lock:
            server.requests.append(Request(self.command, self.path, dict(self.headers.items())))
        parts = urlsplit(self.path)
        path = unquote(parts.path).strip("/")
        if server.everything == "page":
            self.send(200, _PAGE, {"content-type": "text/html; charset=utf-8"})
        elif server.everything == "missing":
            self.send(404, b"Not Found", {"content-type": "text/plain"})
        elif isinstance(server.everything, Refuse):
            self.send(server.everything.status, b"", server.everything.headers)
        elif isinstance(server.everything, Stall):
            server.may_go_on.wait()
        elif fault := self._fault(path):
            self.send(fault.status, b"", fault.headers)
        elif path.startswith("store/"):
            repo_id, _, rest = path.removeprefix("store/").partition("/at/")
            commit, _, name = rest.partition("/")
            self.content(name, server.repos[repo_id].commits[commit][name])
        else:
            self.route(path, parts.query)

    def _fault(self, name: str) -> Any:
        faults = self.server.faults[name]
        return faults.popleft() if faults and self.command == "GET" else None

    def found(self, repo_id: str, repo: Repo, commit: str, name: str, headers: Mapping[str, str]) -> None:
        """Answer with a file: with what leads to it if it is large, else with its content."""
        content = repo.commits[commit][name]
        if len(content) >= LARGE:
            self.send(302, b"", {"location": f"{self.server.store}/{repo_id}/at/{commit}/{name}", **headers})
        else:
            self.content(name, content, headers)

    def content(self, name: str, content: bytes, more: Mapping[str, str] | None = None) -> None:
        """Answer with a file's content, or what the next fault makes of it."""
        fault = self._fault(name)
        headers = {"accept-ranges": "bytes", "content-type": "application/octet-stream", **(more or {})}
        if isinstance(fault, Refuse):
            self.send(fault.status, b"", fault.headers)
            return
        if isinstance(fault, Page):
            self.send(200, _PAGE, {"content-type": "text/html"})
            return
        if isinstance(fault, Wrong):
            content = fault.content
        headers["etag"] = f'"{hashlib.sha256(content).hexdigest()}"'
        status, start = 200, 0
        wanted = self.headers.get("range")
        if isinstance(fault, Zipped):
            content = gzip.compress(content if fault.content is None else fault.content)
            headers["content-encoding"] = "gzip"
        elif wanted and not isinstance(fault, Whole):
            status, start = 206, int(wanted.removeprefix("bytes=").partition("-")[0])
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

    def send_json(self, document: object, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        """Answer with a document."""
        self.send(status, json.dumps(document).encode(), {**(headers or {}), **_JSON})

    def send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        """Answer."""
        self._head(status, len(body), headers)
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: int, length: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        self.send_header("content-length", str(length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def token(self) -> str | None:
        """What was sent to be let in."""
        given = self.headers.get("authorization")
        return given.removeprefix("Bearer ") if given else None

    def is_known(self) -> bool:
        """Whether a token that was sent is one."""
        return self.token() in (None, GOOD, PLAIN)


_Server = TypeVar("_Server", bound=FileServer)


@contextmanager
def running(kind: type[_Server]) -> Iterator[_Server]:
    """A place that runs, and that stalls no longer at the end."""
    server = kind()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.may_go_on.set()
        server.shutdown()
        thread.join()
        server.server_close()
