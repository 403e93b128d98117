"""What is on disk, as a table for people and as a document for programs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from actors.models import Inventory

ModelSettings = Callable[[str], Mapping[str, Any]]


def align(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of rows whose columns stand below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def table(inventory: Inventory, settings: ModelSettings) -> Iterator[str]:
    """A line a model, then one for each folder that was skipped, with the reason.

    Args:
        inventory: What was found.
        settings: What is set for a model, by its id.
    """
    if inventory.models:
        rows: list[tuple[str, ...]] = [("MODEL", "ALIAS", "TYPE", "ARCHITECTURE", "SIZE", "QUANTIZATION", "CONTEXT", "PATH")]
        for model in inventory.models.values():
            own = settings(model.model_id)
            rows.append(
                (
                    model.model_id,
                    own.get("model_alias") or "",
                    str(own.get("model_type_override") or model.type),
                    model.architecture,
                    _size(model.size_bytes),
                    model.quantization or "-",
                    str(model.context_length or "?"),
                    str(model.path),
                )
            )
        if not any(row[1] for row in rows[1:]):
            rows = [row[:1] + row[2:] for row in rows]
        yield from align(rows)
    if inventory.skipped:
        yield ""
        yield "Skipped:"
        yield from (f"  {skipped.path}: {skipped.reason}" for skipped in inventory.skipped)


def document(inventory: Inventory, settings: ModelSettings) -> dict[str, Any]:
    """The same for programs; sizes are bytes, and what isn't known is null."""
    models = []
    for model in inventory.models.values():
        own = settings(model.model_id)
        models.append(
            {
                "id": model.model_id,
                "alias": own.get("model_alias"),
                "type": str(own.get("model_type_override") or model.type),
                "architecture": model.architecture,
                "path": str(model.path),
                "size_bytes": model.size_bytes,
                "parameters": model.parameters,
                "quantization": model.quantization,
                "context_length": model.context_length,
                "revision": model.revision,
            }
        )
    return {"models": models, "skipped": [{"path": str(each.path), "reason": each.reason} for each in inventory.skipped]}


def _size(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
