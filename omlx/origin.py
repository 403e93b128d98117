"""Whether the three packages come from one place: their names are common words, and a user may have files of them."""

from importlib.util import find_spec
from pathlib import Path


def foreign_package() -> str | None:
    """What to tell the user when `actors` or `scheduler` is somebody else's; None when all is well."""
    ours = Path(__file__).parents[1]
    for name in ("actors", "scheduler"):
        spec = find_spec(name)
        origin = Path(spec.origin) if spec is not None and spec.origin is not None else None
        if origin is None or origin.parents[1] != ours:
            return (
                f"oMLX needs its own package '{name}', and Python finds {origin or 'none'} instead. "
                "Start from another folder, or take that one off PYTHONPATH."
            )
    return None
