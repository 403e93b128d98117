"""Finds a fast BLAS on Linux and puts it in front of the slow one that MLX's CPU build links.

MLX's Linux CPU wheel links the reference BLAS. Symbols of a library that was opened globally earlier win over those of
a library's own dependencies, so opening a real BLAS before MLX is imported is enough: no LD_PRELOAD, nothing to set
before the process starts, and the search runs on whichever machine the process is.
"""

import ctypes
import ctypes.util
import functools
import os
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

CURE = (
    "matrix products will be slow: install a BLAS with `pip install mkl` (x86-64) "
    "or your system's OpenBLAS (`apt install libopenblas0-pthread`)"
)


@dataclass(frozen=True, slots=True)
class Blas:
    """A BLAS that can be put in front of MLX's own.

    Attributes:
        name: What it is called.
        libraries: The shared libraries to open, in this order.
        environment: What has to be set before they are opened.
    """

    name: str
    libraries: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()


def find_blas() -> Blas | None:
    """The best BLAS of this machine, or None. macOS needs none: MLX uses Accelerate there."""
    if sys.platform != "linux":
        return None
    return _find_mkl() or _find_openblas()


@functools.cache
def preload_blas() -> Blas | None:
    """Open the best BLAS for the whole process, on every core that it may run on. Call before anything imports MLX.

    Returns:
        What was opened, or None where there is none or none is needed. Calling again gives the same answer.

    Raises:
        RuntimeError: When MLX has been imported already, which binds its symbols.
    """
    if "mlx.core" in sys.modules:
        raise RuntimeError("MLX is imported already: a BLAS put in front of it now would have no effect")
    blas = find_blas()
    if blas is None:
        return None
    count = str(available_cores())
    os.environ.update({"OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": count})
    os.environ.update(blas.environment)
    for library in blas.libraries:
        ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)
    return blas


def available_cores() -> int:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _find_mkl() -> Blas | None:
    runtime = _installed_library("mkl", "libmkl_rt.so")
    openmp = _installed_library("intel-openmp", "libiomp5.so")
    if runtime is None or openmp is None:
        return None
    return Blas("Intel MKL", (str(openmp), str(runtime)), (("MKL_THREADING_LAYER", "INTEL"), ("MKL_INTERFACE_LAYER", "LP64")))


def _find_openblas() -> Blas | None:
    library = ctypes.util.find_library("openblas")
    return Blas("OpenBLAS", (library,)) if library else None


def _installed_library(distribution: str, prefix: str) -> Path | None:
    """The library of an installed package, wherever its wheel put it."""
    try:
        files = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        return None
    found = (Path(str(file.locate())).resolve() for file in files if file.name.startswith(prefix))
    return next((path for path in found if path.exists()), None)
