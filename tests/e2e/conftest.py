"""The real demo model, most often behind `omlx serve` as a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.embedding_model import embedding_model
from benchmarks.server import demo_model_dir, running_server
from tests.e2e.retrieval import JUDGED, sentences

CACHE = Path(__file__).parents[2] / ".cache" / "models"
REFERENCE = CACHE.parent / "reference-venv"
SCRIPT = Path(__file__).with_name("reference_embeddings.py")
REFERENCE_PACKAGES = ("torch==2.13.0", "sentence-transformers>=5.4,<7")


def pytest_collection_modifyitems(items):
    for item in items:
        if "/tests/e2e/" in str(item.path):
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def demo_models() -> Path:
    """The folder with the demo model, fetched once a checkout."""
    return demo_model_dir([str(CACHE)])


@pytest.fixture(scope="session")
def server(demo_models):
    """One server for all tests that leave it as they found it."""
    with running_server(demo_models) as running:
        yield running


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of a real embedding model, fetched once a checkout."""
    return embedding_model(CACHE)


@pytest.fixture(scope="session")
def reference_python() -> str:
    """A Python with sentence-transformers, in an environment of its own; made once a checkout, and anew where that was broken off."""
    python, complete = REFERENCE / "bin" / "python", REFERENCE / "complete"
    wanted = "\n".join(REFERENCE_PACKAGES)
    if not complete.exists() or complete.read_text() != wanted:
        environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(REFERENCE)], check=True, timeout=120)
        subprocess.run(
            [str(python), "-m", "pip", "install", "--quiet", *REFERENCE_PACKAGES], check=True, timeout=1800, env=environment
        )
        complete.write_text(wanted)
    return str(python)


@pytest.fixture(scope="session")
def refer(reference_python):
    """Runs the reference, and gives what it prints."""

    def run(command, folder, given):
        done = subprocess.run(
            [reference_python, str(SCRIPT), command, str(folder)],
            input=json.dumps(given),
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""},
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture(scope="session")
def tiny(refer, tmp_path_factory):
    """Tiny random models, and what they compute."""
    folder = tmp_path_factory.mktemp("tiny")
    return folder, refer("make", folder, {"texts": sentences()[:60], "pairs": JUDGED})
