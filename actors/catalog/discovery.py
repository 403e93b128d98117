"""Finds the MLX models in the model folders. Rereads the disk each time; keeps nothing."""

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from actors.catalog.model_config import context_length
from actors.contracts import ModelInfo

_log = logging.getLogger(__name__)


def discover(model_dirs: Sequence[Path]) -> dict[str, ModelInfo]:
    """Every model under the folders, by id (its folder's name); of two with one name, the first found counts.

    A model is a folder with a `config.json` and at least one `.safetensors` file. Folders whose name begins with a dot
    are skipped: they are where unfinished downloads stand.
    """
    found: dict[str, ModelInfo] = {}
    for model_dir in model_dirs:
        for folder in _folders(model_dir):
            model = read_model(folder)
            if model is not None:
                found.setdefault(model.model_id, model)
    return dict(sorted(found.items()))


def read_model(folder: Path) -> ModelInfo | None:
    """The model in a folder, or None when there is none that can be served."""
    config_file = folder / "config.json"
    try:
        weights = [file.stat().st_size for file in folder.glob("*.safetensors")]
        if not weights or not config_file.is_file():
            return None
        config = json.loads(config_file.read_text("utf-8"))
        created = int(config_file.stat().st_mtime)
    except (OSError, ValueError) as error:
        _log.warning("skipping %s: %s", folder, error)
        return None
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        _log.warning("skipping %s: its config.json names no model_type", folder)
        return None
    return ModelInfo(
        model_id=folder.name,
        path=folder,
        model_type=config["model_type"],
        size_bytes=sum(weights),
        context_length=context_length(config),
        created=created,
    )


def _folders(model_dir: Path) -> Iterator[Path]:
    try:
        entries = sorted(model_dir.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        _log.warning("cannot read the model folder %s: %s", model_dir, error)
        return
    yield from (entry for entry in entries if entry.is_dir() and not entry.name.startswith("."))
