"""A real BLAS stands in front of MLX's own."""

import subprocess
import sys

import pytest

from scheduler.mlx import blas
from scheduler.mlx.blas import Blas, find_blas, preload_blas

SPEED = """
import time
from scheduler.mlx.blas import preload_blas
preload_blas()
import mlx.core as mx
a = mx.random.normal((768, 768)); mx.eval(a)
def product():
    began = time.perf_counter(); mx.eval(a @ a); return time.perf_counter() - began
print(2 * 768**3 / min(product() for _ in range(8)) / 1e9)
"""


def test_products_run_at_the_speed_of_a_real_blas():
    done = subprocess.run([sys.executable, "-c", SPEED], capture_output=True, text=True, check=True, timeout=60)
    assert float(done.stdout) > 15, "GFLOP/s; the reference BLAS reaches 4"


def test_it_must_come_before_mlx():
    with pytest.raises(RuntimeError, match="imported already"):
        preload_blas.__wrapped__()


def test_without_mkl_the_systems_openblas_is_taken(monkeypatch):
    monkeypatch.setattr(blas.sys, "platform", "linux")
    monkeypatch.setattr(blas, "_installed_library", lambda *_: None)
    monkeypatch.setattr(blas.ctypes.util, "find_library", {"openblas": "libopenblas.so.0"}.get)
    assert find_blas() == Blas("OpenBLAS", ("libopenblas.so.0",))
    monkeypatch.setattr(blas.ctypes.util, "find_library", lambda _: None)
    assert find_blas() is None


def test_macos_needs_none(monkeypatch):
    monkeypatch.setattr(blas.sys, "platform", "darwin")
    assert find_blas() is None
