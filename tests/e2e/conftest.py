"""The real demo model, most often behind `omlx serve` as a process of its own."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import sync_playwright

from benchmarks.embedding_model import embedding_model
from benchmarks.server import demo_model_dir, running_server
from tests.e2e.admin_browser import ARGUMENTS, CARD, NAME, REPO
from tests.e2e.reference_environment import reference_environment
from tests.e2e.retrieval import JUDGED, sentences
from tests.fakes.hub import fake_hub

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


@pytest.fixture(scope="module")
def admin(demo_models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("admin")
    files = {file.name: file.read_bytes() for file in (demo_models / NAME).iterdir() if not file.name.startswith(".")}
    with fake_hub() as hub:
        hub.add(REPO, {**files, "README.md": CARD.encode()}, library="mlx", downloads=1234, likes=56)
        options = ("--no-hf-cache", "--base-path", str(folder), "--hf-endpoint", hub.url)
        with running_server(folder / "models", *options) as running:
            yield SimpleNamespace(url=running.url, models=folder / "models", hub=hub)


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        yield found
        found.close()


@pytest.fixture
def complaints():
    return []


@pytest.fixture
def page(browser, admin, complaints):
    """A page that must not complain, nor ask anybody else for anything."""
    context = browser.new_context(viewport={"width": 1000, "height": 800}, locale="en-US", color_scheme="light")
    page = context.new_page()
    page.set_default_timeout(30_000)
    page.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    own = urlsplit(admin.url).netloc
    page.on("request", lambda request: complaints.append(request.url) if urlsplit(request.url).netloc != own else None)
    page.goto(f"{admin.url}/admin")
    yield page
    assert complaints == []
    context.close()
