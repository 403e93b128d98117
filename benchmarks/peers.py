"""The servers that are compared, each started on the same model folder and with the same BLAS in front of MLX."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.server import Command, Server, free_port, running, running_server
from scheduler.mlx.blas import available_cores, find_blas


@dataclass(frozen=True, slots=True)
class Target:
    """A server that answers chats.

    Attributes:
        model: What requests call the model.
    """

    server: Server
    model: str


def blas_environment() -> dict[str, str]:
    """What puts the fast BLAS in front of MLX in a process that doesn't do so itself; nothing where none is needed."""
    blas = find_blas()
    if blas is None:
        return {}
    cores = str(available_cores())
    folder = Path(blas.libraries[-1]).parent
    paths = [str(folder) if folder.is_absolute() else "", os.environ.get("LD_LIBRARY_PATH", "")]
    return {
        "LD_PRELOAD": ":".join(blas.libraries),
        "LD_LIBRARY_PATH": ":".join(filter(None, paths)),
        "OMP_NUM_THREADS": cores,
        "MKL_NUM_THREADS": cores,
        **dict(blas.environment),
    }


@contextmanager
def omlx(model_folder: Path, batch: int) -> Iterator[Target]:
    """Our server."""
    with running_server(model_folder.parent, "--max-concurrent-requests", str(batch)) as server:
        yield Target(server, model_folder.name)


@contextmanager
def sequential(model_folder: Path, _batch: int) -> Iterator[Target]:
    """Our server, one request at a time."""
    with omlx(model_folder, 1) as target:
        yield target


@contextmanager
def static(model_folder: Path, batch: int) -> Iterator[Target]:
    """Static batching over our runner."""
    port = free_port()
    arguments = [sys.executable, "-m", "benchmarks.static_server", str(model_folder), str(port), str(batch)]
    with _logged(Command(arguments, port)) as server:
        yield Target(server, model_folder.name)


@contextmanager
def batch_generator(model_folder: Path, batch: int) -> Iterator[Target]:
    """mlx-lm's bare batch generator."""
    port = free_port()
    arguments = [sys.executable, "-m", "benchmarks.batch_generator_server", str(model_folder), str(port), str(batch)]
    with _logged(Command(arguments, port, blas_environment())) as server:
        yield Target(server, model_folder.name)


@contextmanager
def mlx_lm(model_folder: Path, batch: int) -> Iterator[Target]:
    """mlx-lm's own server."""
    port = free_port()
    arguments = [sys.executable, "-m", "mlx_lm", "server", "--model", str(model_folder), "--port", str(port)]
    arguments += ["--decode-concurrency", str(batch), "--log-level", "WARNING"]
    with _logged(Command(arguments, port, blas_environment())) as server:
        yield Target(server, "default_model")


Start = Callable[[Path, int], AbstractContextManager[Target]]
PEERS: dict[str, Start] = {
    "omlx": omlx,
    "mlx-lm": mlx_lm,
    "batch-generator": batch_generator,
    "sequential": sequential,
    "static": static,
}


def has_blas(pid: int) -> bool | None:
    """Whether a process and its children have the fast BLAS open; None where none is needed or it can't be seen."""
    blas = find_blas()
    if blas is None or not Path("/proc/self/maps").exists():
        return None
    name = Path(blas.libraries[-1]).name
    return any(name in _maps(process) for process in _family(pid))


@contextmanager
def _logged(command: Command) -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="omlx-peer-") as folder, running(command, Path(folder) / "serve.log") as server:
        yield server


def _family(pid: int) -> Iterator[int]:
    """A process and all that come from it, as `/proc` says."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue  # it ended meanwhile
            parents.setdefault(parent, []).append(int(folder.name))
    found = [pid]
    while found:
        pid = found.pop()
        yield pid
        found += parents.get(pid, [])


def _maps(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return ""
