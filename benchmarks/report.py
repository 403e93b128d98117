"""What every result carries besides its figures: when, on what machine, with which versions; and how it is printed and kept."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omlx.benchmark.machine import machine_card, output

RESULTS = Path(__file__).parent / "results"


def new_document(name: str, **settings: Any) -> dict[str, Any]:
    """A result without its figures. Make it before anything is measured, so that its load is that of others."""
    return {
        "benchmark": name,
        "machine": _machine(),
        "command": " ".join(["python -m", f"benchmarks.{Path(sys.argv[0]).stem}", *sys.argv[1:]]),
        "settings": settings,
    }


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns with two spaces in between, names to the left and numbers to the right."""
    cells = [list(header), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    numeric = [all(not isinstance(row[column], str) for row in rows) for column in range(len(header))]
    lines = []
    for row in cells:
        aligned = (
            text.rjust(width) if right else text.ljust(width) for text, width, right in zip(row, widths, numeric, strict=True)
        )
        lines.append("  ".join(aligned).rstrip())
    return "\n".join(lines)


def finish(document: dict[str, Any], text: str, *, keep: bool, name: str | None = None) -> Path | None:
    """Print a result: its text, where it is kept if it is (under the benchmark's name or another), the document last."""
    print(text)
    kept = save(name or document["benchmark"], document, text) if keep else None
    if kept is not None:
        print(f"kept in {kept}")
    print(json.dumps(document))
    return kept


def save(name: str, document: dict[str, Any], text: str) -> Path:
    """Write a result as JSON and as the text that people read, dated, beside the earlier ones, with the model in its name."""
    RESULTS.mkdir(exist_ok=True)
    parts = [document["machine"]["date"], name, document["settings"].get("model")]
    stem = RESULTS / "-".join(filter(None, parts))
    kept = stem.with_name(f"{stem.name}.json")
    kept.write_text(json.dumps(document, indent=1) + "\n")
    stem.with_name(f"{stem.name}.txt").write_text(text.rstrip() + "\n")
    return kept


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _machine() -> dict[str, Any]:
    """The machine's card, and which commit was measured."""
    return {**machine_card(), "commit": output(["git", "rev-parse", "--short", "HEAD"], Path(__file__).parent) or "unknown"}
