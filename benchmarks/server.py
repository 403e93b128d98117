"""Starts servers as processes of their own, on free ports, and ends them."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

# Without an installation too, if the repository is on PYTHONPATH; `-P` keeps the current folder off it, as the installed command does.
OMLX = (sys.executable, "-P", "-m", "omlx.cli")
_START_SECONDS = 300
_END_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers.

    Attributes:
        url: Without a slash at the end.
        pid: Its process.
        start_seconds: From starting the process to the first 200 of `/health`.
        log: What it wrote to standard error.
    """

    url: str
    pid: int
    start_seconds: float
    log: Path


@dataclass(frozen=True, slots=True)
class Command:
    """How a server is started.

    Attributes:
        arguments: The program and its arguments.
        port: Where it will listen, on 127.0.0.1.
        environment: What to set on top of this process' own environment.
    """

    arguments: Sequence[str]
    port: int
    environment: Mapping[str, str] = field(default_factory=dict)


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_server(model_dir: Path, *options: str) -> Iterator[Server]:
    """Our server over a folder of models; ended as Ctrl-C would, and killed if that isn't enough."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="omlx-base-") as base:
        arguments = [*OMLX, "serve", "--port", str(port), "--model-dir", str(model_dir), "--base-path", base, *options]
        with running(Command(arguments, port), Path(base) / "serve.log") as server:
            yield server


@contextmanager
def running(command: Command, log: Path) -> Iterator[Server]:
    """Any server that has a `/health`; ended as Ctrl-C would, and killed if that isn't enough."""
    began = time.monotonic()
    environment = {**os.environ, **command.environment}
    with log.open("wb") as output:
        process = subprocess.Popen(command.arguments, stdout=output, stderr=output, env=environment)
    try:
        url = f"http://127.0.0.1:{command.port}"
        _wait_until_healthy(url, process, log)
        yield Server(url, process.pid, time.monotonic() - began, log)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_healthy(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}:\n{log.read_text()}")
        try:
            # The socket listens from the start; the answer comes once there is someone to give it.
            if httpx.get(f"{url}/health", timeout=deadline - time.monotonic()).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise RuntimeError(f"the server was not healthy within {_START_SECONDS} s:\n{log.read_text()}")


def demo_model_dir(arguments: Sequence[str] = ()) -> Path:
    """The folder that holds the demo model: the first argument, or where `omlx pull demo` puts it; fetched if missing."""
    from omlx.demo import pull_demo
    from omlx.downloads.stages import ConsoleProgress

    folder = Path(arguments[0]) if arguments else Path("~/.omlx/models").expanduser()
    with ConsoleProgress() as progress:
        pull_demo(folder, progress)
    return folder
