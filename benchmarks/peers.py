"""The servers that are compared, each started on the same model folder and with the same BLAS in front of MLX."""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.dense import dense_copy
from benchmarks.server import Command, Server, demo_model_dir, free_port, running, running_server
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


OURS = "omlx"
_OTHERS = tuple(peer for peer in PEERS if peer != OURS)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that every comparison of servers has: which model, as it stands or not, and which servers beside ours."""
    parser.add_argument("model_folder", nargs="?", type=Path, help="one model's folder; the demo model, fetched if need be")
    parser.add_argument("--as-is", action="store_true", help="serve the folder itself and not its float32 copy (Metal, CUDA)")
    parser.add_argument("--compare", type=_names, default=[], help=f"servers to compare with, of {', '.join(_OTHERS)}")


def folder_to_serve(options: argparse.Namespace) -> Path:
    """The model folder that the options mean."""
    folder: Path = options.model_folder or demo_model_dir() / "SmolLM2-135M-Instruct"
    return folder if options.as_is else dense_copy(folder)


def in_turn(peers: Sequence[str], rounds: int) -> Iterator[tuple[int, str]]:
    """Every server in every round, with the round's number; the order is reversed each time."""
    for round_number in range(rounds):
        for peer in peers if round_number % 2 == 0 else reversed(peers):
            print(f"round {round_number + 1} of {rounds}: {peer}", file=sys.stderr)
            yield round_number, peer


def _names(value: str) -> list[str]:
    names = value.split(",")
    unknown = [name for name in names if name not in _OTHERS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no such server: {', '.join(unknown)}; there are {', '.join(_OTHERS)}")
    return names


def has_blas(pid: int) -> bool | None:
    """Whether a process and its children have the fast BLAS open; None where none is needed or it can't be seen."""
    blas = find_blas()
    if blas is None or not Path("/proc/self/maps").exists():
        return None
    name = Path(blas.libraries[-1]).name
    return any(name in _maps(process) for process in family(pid))


@contextmanager
def _logged(command: Command) -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="omlx-peer-") as folder, running(command, Path(folder) / "serve.log") as server:
        yield server


def family(pid: int) -> Iterator[int]:
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
