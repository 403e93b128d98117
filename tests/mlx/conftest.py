"""MLX's CPU kernels need the fast BLAS in front of them before anything imports MLX."""

import pytest

from scheduler.mlx.blas import preload_blas

preload_blas()


def pytest_collection_modifyitems(items):
    for item in items:
        if "/tests/mlx/" in str(item.path):
            item.add_marker(pytest.mark.mlx)
