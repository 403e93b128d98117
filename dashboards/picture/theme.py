"""Grafana's dark colours."""

from collections.abc import Mapping, Sequence
from typing import Any

PAGE, PANEL, EDGE = "#111217", "#181b1f", "#25272c"
TEXT, FAINT, GRID = "#d5d6dc", "#9a9ba3", "#2a2d33"

_NAMED = {
    "green": "#73bf69",
    "yellow": "#fade2a",
    "orange": "#ff9830",
    "red": "#f2495c",
    "blue": "#5794f2",
    "purple": "#b877d9",
}
_IN_TURN = ("#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9", "#37872d", "#fade2a", "#447ebc")


def shade(name: str) -> str:
    """A colour by Grafana's name, or as it is."""
    return _NAMED.get(name, name)


def in_turn(index: int) -> str:
    """The colour of a series that has none of its own."""
    return _IN_TURN[index % len(_IN_TURN)]


def level(value: float, steps: Sequence[Mapping[str, Any]]) -> str:
    """The colour of a value by its thresholds."""
    reached = [step["color"] for step in steps if step["value"] is None or value >= step["value"]]
    return shade(reached[-1])
