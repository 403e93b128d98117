"""How much memory there is for models on this machine, and what a model takes of it."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from actors.contracts import EngineOptions
from actors.models import PICTURE_BYTES, ModelInfo

_log = logging.getLogger(__name__)

Device = Literal["cpu", "metal", "cuda"]
_CUDA_BUILDS = ("mlx-cuda-13", "mlx-cuda-12")
_MB = 1_000_000
_GB = 1_000_000_000
_HEADROOM = 4 * _GB  # for macOS and what else runs there: it panics under memory pressure
_PROCESS = {"cpu": 400 * _MB, "metal": 400 * _MB, "cuda": 600 * _MB}  # an engine without a model; measured on the CPU: 330 MB
_LEAST_TOKENS = 2048  # of KV that a load is worth while with
_FORWARD = 256 * _MB  # of an encoder: what stands between its layers
_UNKNOWN_KV = 256 * _MB  # where nobody can tell what a token takes; more for a large model


@dataclass(frozen=True, slots=True)
class Machine:
    """What models are loaded into.

    Attributes:
        total: Bytes of it: the GPU's own memory, or the system's as far as this process may have it.
    """

    device: Device
    total: int

    @property
    def safe_share(self) -> int:
        """What engines may take unless a setting says so: 90 % of a GPU, 80 % of what the CPU has.

        On a Mac, 75 % or all but 4 GB, whichever is less; half of it at the least.
        """
        if self.device == "cuda":
            return self.total * 9 // 10
        if self.device == "cpu":
            return self.total * 8 // 10
        return max(self.total // 2, min(self.total * 3 // 4, self.total - _HEADROOM))


@dataclass(frozen=True, slots=True)
class Need:
    """What an engine would take, in bytes.

    Attributes:
        base: Weights and process.
        least_kv: The least KV that it is loaded with.
        most_kv: The KV that it could make use of.
    """

    base: int
    least_kv: int
    most_kv: int

    @property
    def least(self) -> int:
        """The free memory that it is loaded with at the least."""
        return self.base + self.least_kv

    def kv(self, free: int) -> int:
        """The KV to load it with where so much is free: half of what its weights leave, within its own bounds."""
        return min(self.most_kv, max(self.least_kv, (free - self.base) // 2))


def base_bytes(model: ModelInfo, device: Device) -> int:
    """What a model's weights, its process and the pictures it keeps take once loaded. On the CPU, every weight becomes four bytes."""
    if device != "cpu":
        weights = model.size_bytes * 21 // 20
    elif model.parameters:
        weights = 4 * model.parameters
    else:
        weights = 2 * model.size_bytes
    return weights + _PROCESS[device] + (PICTURE_BYTES if model.type.sees else 0)


def need_of(model: ModelInfo, options: EngineOptions, device: Device) -> Need:
    """What an engine of a model would take. `kv_cache_bytes` of the options, where it is set, is all the KV it gets.

    Embedding models and rerankers keep no KV.
    """
    base = base_bytes(model, device)
    if model.type.encodes:
        return Need(base + _FORWARD, 0, 0)
    if options.kv_cache_bytes is not None:
        return Need(base, options.kv_cache_bytes, options.kv_cache_bytes)
    per_token = model.kv_bytes_per_token * (2 if device == "cpu" else 1)
    if not per_token:
        return Need(base, _UNKNOWN_KV, max(_UNKNOWN_KV, model.size_bytes // 2))
    context = model.context_length or _LEAST_TOKENS
    return Need(base, per_token * min(context, _LEAST_TOKENS), per_token * context * options.max_concurrent_requests)


def this_machine() -> Machine:
    """What models are loaded into here. Asks the GPU's driver where MLX's CUDA build is installed, so it blocks for a second."""
    system = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if sys.platform == "darwin":
        return Machine("metal", system)
    gpu = _gpu_memory() if any(map(_is_installed, _CUDA_BUILDS)) else None
    if gpu is not None:
        return Machine("cuda", gpu)
    return Machine("cpu", min((system, *cgroup_limits(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")))))


def cgroup_limits(membership: Path, root: Path) -> Iterator[int]:
    """The memory limits of the control groups that this process is in, from its own up to the root, in bytes.

    Args:
        membership: What `/proc/self/cgroup` says: a line `0::/path` for version 2, `4:memory:/path` for version 1.
        root: Where control groups are mounted.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, name = root, "memory.max"
        elif "memory" in controllers.split(","):
            base, name = root / "memory", "memory.limit_in_bytes"
        else:
            continue
        group = base / path.strip("/")
        # In a container, a path may be the host's, and its own limit stands at the root.
        for folder in (group, *(parent for parent in group.parents if parent.is_relative_to(base))):
            try:
                text = (folder / name).read_text().strip()
            except OSError:
                continue
            if text.isdecimal():  # else `max`: none
                yield int(text)


def _is_installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def _gpu_memory() -> int | None:
    """Bytes of the GPU that MLX takes, the first one that is visible; None when its driver doesn't answer."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").partition(",")[0].strip()
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits", f"--id={visible or 0}"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
        return int(answer.stdout.split()[0]) * 1024 * 1024
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        _log.warning("the GPU's memory can't be read, so models are taken to live in the system's: %s", error)
        return None
