"""What the extra brings isn't needed, nor imported, by a server that exports nothing."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[4]
EXTRA = ("opentelemetry.sdk", "opentelemetry.exporter", "opentelemetry.proto", "omlx.telemetry.export")
IMPORTS = f"""
import importlib, pkgutil, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.startswith({EXTRA!r}):
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Missing())
import omlx
for module in pkgutil.walk_packages(omlx.__path__, "omlx."):
    if not module.name.startswith("omlx.telemetry."):
        importlib.import_module(module.name)
assert "omlx.server" in sys.modules
"""


def test_the_server_can_be_imported_without_the_extra():
    done = subprocess.run([sys.executable, "-c", IMPORTS], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
