"""On a cluster, engines stand where there is memory for them, and a node that is lost takes only its own."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.ray
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("shown", ["engines", "models"])
def test_a_lost_node_takes_only_its_own(shown, tmp_path):
    ray_files = tempfile.mkdtemp(prefix="omlx-nodes-", dir="/tmp")  # a short path, for Ray's sockets
    environment = {
        "PYTHONPATH": str(ROOT),
        "RAY_AUTH_MODE": "disabled",  # whatever token this user has
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    try:
        # A process of its own: this one may be in another Ray runtime.
        done = subprocess.run(
            [sys.executable, "-m", "tests.integration.cluster", shown, str(tmp_path), ray_files],
            cwd=ROOT,
            env=os.environ | environment,
            timeout=240,
            check=False,
            capture_output=True,
            text=True,
        )
    finally:
        shutil.rmtree(ray_files, ignore_errors=True)
    assert done.returncode == 0, done.stdout + done.stderr
