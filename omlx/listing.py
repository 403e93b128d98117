"""What is on disk, as a table for people and as a document for programs."""

from collections.abc import Iterator, Sequence
from typing import Any

from actors.control import Served
from actors.models import Skipped


def align(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of rows whose columns stand below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def table(models: Sequence[Served], skipped: Sequence[Skipped]) -> Iterator[str]:
    """A line a model, then one for each folder that was skipped, with the reason. Aliases have a column if there are any."""
    if models:
        rows: list[tuple[str, ...]] = [("MODEL", "ALIAS", "TYPE", "ARCHITECTURE", "SIZE", "QUANTIZATION", "CONTEXT", "PATH")]
        for served in models:
            model = served.model
            rows.append(
                (
                    model.model_id,
                    _alias(served) or "",
                    str(model.type),
                    model.architecture,
                    size_text(model.size_bytes),
                    model.quantization or "-",
                    str(model.context_length or "?"),
                    str(model.path),
                )
            )
        if not any(map(_alias, models)):
            rows = [row[:1] + row[2:] for row in rows]
        yield from align(rows)
    if skipped:
        yield ""
        yield "Skipped:"
        yield from (f"  {each.path}: {each.reason}" for each in skipped)


def document(models: Sequence[Served], skipped: Sequence[Skipped]) -> dict[str, Any]:
    """The same for programs; sizes are bytes, and what isn't known is null."""
    return {
        "models": [
            {
                "id": served.model_id,
                "alias": _alias(served),
                "type": str(served.model.type),
                "architecture": served.model.architecture,
                "path": str(served.model.path),
                "size_bytes": served.model.size_bytes,
                "parameters": served.model.parameters or None,
                "quantization": served.model.quantization,
                "context_length": served.model.context_length,
                "revision": served.model.revision,
            }
            for served in models
        ],
        "skipped": [{"path": str(each.path), "reason": each.reason} for each in skipped],
    }


def size_text(size: int) -> str:
    """Bytes for people."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _alias(served: Served) -> str | None:
    return served.name if served.name != served.model_id else None
