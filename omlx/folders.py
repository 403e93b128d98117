"""Where the base path and the model folders are."""

from pathlib import Path

DEFAULT_BASE = Path("~/.omlx")


def base_folder(given: Path | None) -> Path:
    """The base path, absolute."""
    return (given or DEFAULT_BASE).expanduser().absolute()


def model_folders(base: Path, given: tuple[Path, ...]) -> tuple[Path, ...]:
    """The model folders, absolute; `<base>/models` unless told otherwise."""
    return tuple(folder.expanduser().absolute() for folder in given) or (base / "models",)
