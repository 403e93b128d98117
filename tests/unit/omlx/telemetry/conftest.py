"""A person whose environment says nothing of OpenTelemetry, and libraries whose log nobody has taken over."""

import logging
import os

import pytest

from omlx.telemetry.complaints import LIBRARIES


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")


@pytest.fixture(autouse=True)
def libraries_log():
    libraries = logging.getLogger(LIBRARIES)
    yield libraries
    libraries.handlers.clear()
    libraries.propagate = True
