"""The model in one folder, as an engine is given it."""

from pathlib import Path

from actors.catalog.discovery import Discovery
from actors.models import ModelInfo


def model_in(folder: Path) -> ModelInfo:
    """The model; ends the program where there is none that could be served."""
    found = Discovery((folder,)).scan()
    for model in found.models.values():
        return model
    raise SystemExit(found.skipped[0].reason if found.skipped else f"there is no model in {folder}")
