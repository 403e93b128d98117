"""The real demo model, most often behind `omlx serve` as a process of its own."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from benchmarks.embedding_model import embedding_model
from benchmarks.server import demo_model_dir, running_server
from tests.e2e.reference_environment import reference_environment
from tests.e2e.retrieval import JUDGED, sentences

CACHE = Path(__file__).parents[2] / ".cache" / "models"
SCRIPT = Path(__file__).with_name("reference_embeddings.py")


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
    return embedding_model(CACHE.with_name("models-embed"))


@pytest.fixture(scope="session")
def reference_python() -> str:
    """A Python with sentence-transformers, in an environment of its own."""
    return reference_environment()


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
