"""Places of a test's own, and an environment without proxies, tokens and other places."""

import os

import huggingface_hub
import pytest

from tests.fakes.file_server import running
from tests.fakes.hub import FakeHub
from tests.fakes.modelscope import FakeModelScope


@pytest.fixture
def hub_environment(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith(("HF_", "MODELSCOPE_", "OMLX_", "SSL_CERT")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    huggingface_hub.close_session()
    yield
    huggingface_hub.close_session()  # it may hold connections to a hub that is gone


@pytest.fixture
def hub(hub_environment):
    with running(FakeHub) as server:
        yield server


@pytest.fixture
def modelscope(hub_environment):
    with running(FakeModelScope) as server:
        yield server


@pytest.fixture(params=[FakeHub, FakeModelScope], ids=["hf", "modelscope"])
def place(request, hub_environment):
    """Each kind of place that models come from."""
    with running(request.param) as server:
        yield server
