"""Where the base path, the model folders and the Hugging Face cache are."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

DEFAULT_BASE = Path("~/.omlx")


def base_folder(given: Path | None) -> Path:
    """The base path, absolute."""
    return (given or DEFAULT_BASE).expanduser().absolute()


def model_folders(base: Path, given: Iterable[str]) -> tuple[Path, ...]:
    """The model folders, absolute: those that are relative begin at the base path; `<base>/models` if none is given."""
    return tuple(base / Path(folder).expanduser() for folder in given) or (base / "models",)


def hf_cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where Hugging Face's tools keep what they download, absolute; found as they find it."""
    cache = environment.get("HF_HUB_CACHE")
    if not cache:
        home = environment.get("HF_HOME") or Path(environment.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
        cache = str(Path(home) / "hub")
    return Path(cache).expanduser().absolute()
