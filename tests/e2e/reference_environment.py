"""The environment that references are computed in: `python -m tests.e2e.reference_environment` makes it, and says which Python it has."""

import os
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[2] / ".cache" / "reference-venv"
PACKAGES = ("torch==2.13.0", "sentence-transformers>=5.4,<7")


def reference_environment() -> str:
    """A Python with sentence-transformers; made once a checkout, and anew where that was broken off."""
    python, complete = FOLDER / "bin" / "python", FOLDER / "complete"
    wanted = "\n".join(PACKAGES)
    if not complete.exists() or complete.read_text() != wanted:
        environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(FOLDER)], check=True, timeout=120)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES], check=True, timeout=1800, env=environment)
        complete.write_text(wanted)
    return str(python)


if __name__ == "__main__":
    sys.stdout.write(f"{reference_environment()}\n")
