"""A hub on this machine, to download from while something is measured: models of random bytes, by ranges and checksums, and no more.

python -m benchmarks.local_hub --port P --models 3 --bytes 340000000
"""

import argparse
import hashlib
import json
import os
import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.server import Command, Server, free_port, running

COMMIT = "c" * 40
_PIECE = 1 << 20
_NICENESS = 19  # it stands for machines elsewhere


def name(number: int) -> str:
    """What a model is called there."""
    return f"org/random-{number}"


@contextmanager
def local_hub(models: int, size: int) -> Iterator[Server]:
    """One as a process of its own."""
    port = free_port()
    arguments = [sys.executable, "-m", "benchmarks.local_hub", "--port", str(port), "--models", str(models), "--bytes", str(size)]
    with (
        tempfile.TemporaryDirectory(prefix="omlx-hub-") as logs,
        running(Command(arguments, port), Path(logs) / "hub.log") as hub,
    ):
        yield hub


class _Hub(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, folder: Path, models: int, size: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.files: dict[tuple[str, str], Path] = {}
        self.checksums: dict[Path, str] = {}
        for number in range(models):
            for file, content in _content(number, size):
                path = folder / f"{number}-{file}"
                path.write_bytes(content)
                self.files[name(number), file] = path
                self.checksums[path] = hashlib.sha256(content).hexdigest()


def _content(number: int, size: int) -> Iterator[tuple[str, bytes]]:
    """A model's files: discovery takes it for one, and nobody can load it."""
    yield "config.json", b'{"model_type": "llama"}'
    header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    dice = random.Random(number)
    weights = b"".join(dice.randbytes(min(_PIECE, size - done)) for done in range(0, size, _PIECE))
    yield "model.safetensors", len(header).to_bytes(8, "little") + header + weights


class _Handler(BaseHTTPRequestHandler):
    server: _Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = urlsplit(self.path).path.strip("/")
        if path == "health":
            self._send(b"{}")
        elif path.startswith("api/models/"):
            self._send(self._listing("/".join(path.split("/")[2:4])))
        else:
            repository, _, rest = path.partition("/resolve/")
            self._file(self.server.files[repository, rest.partition("/")[2]])

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def _listing(self, repository: str) -> bytes:
        siblings = [
            {
                "rfilename": file,
                "size": path.stat().st_size,
                "lfs": {"sha256": self.server.checksums[path], "size": 0, "pointerSize": 0},
            }
            for (of, file), path in self.server.files.items()
            if of == repository
        ]
        return json.dumps({"id": repository, "modelId": repository, "sha": COMMIT, "siblings": siblings}).encode()

    def _send(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _file(self, path: Path) -> None:
        self.send_response(200)
        self.send_header("content-length", str(path.stat().st_size))
        self.end_headers()
        with path.open("rb") as file:
            while data := file.read(_PIECE):
                self.wfile.write(data)


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--models", type=int, default=3)
    parser.add_argument("--bytes", type=int, default=340_000_000, help="of each model's weights")
    options = parser.parse_args()
    os.nice(_NICENESS)
    with tempfile.TemporaryDirectory(prefix="omlx-hub-files-") as folder:
        hub = _Hub(options.port, Path(folder), options.models, options.bytes)
        with suppress(KeyboardInterrupt):
            hub.serve_forever()


if __name__ == "__main__":
    main()
