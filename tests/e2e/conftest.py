"""The real demo model, most often behind `omlx serve` as a process of its own."""

from pathlib import Path

import pytest

from benchmarks.server import demo_model_dir, running_server

CACHE = Path(__file__).parents[2] / ".cache" / "models"


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
