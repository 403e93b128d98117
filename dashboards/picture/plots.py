"""The kinds of panel, each drawn into its place; see `dashboards.panels` for what they are."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm

from dashboards.picture import theme
from dashboards.picture.answers import Answer, Series
from dashboards.picture.canvas import Canvas, Place
from dashboards.picture.units import marks, written

_CLOCK_STEPS = (5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400)
_MOST_ROWS = 16  # of a heat map's axis that are named


@dataclass(frozen=True, slots=True)
class _Look:
    color: str
    is_bound: bool


def draw(canvas: Canvas, panel: Mapping[str, Any], place: Place, answer: Answer) -> None:
    """Draw a panel; one without any value says so."""
    canvas.box(place)
    canvas.text(place.left + 10, place.top + 9, panel["title"], size=14, weight="bold")
    if not any(math.isfinite(value) for _, series in answer.series for value in series.values):
        canvas.text((place.left + place.right) / 2, (place.top + place.bottom) / 2, "No data", color=theme.FAINT, across="center")
        return
    {"stat": _stat, "timeseries": _graph, "heatmap": _heat_map}[panel["type"]](canvas, panel, place, answer)


def _stat(canvas: Canvas, panel: Mapping[str, Any], place: Place, answer: Answer) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    values = answer.series[0][1].values
    latest = next(value for value in reversed(values) if math.isfinite(value))
    text, color = written(latest, defaults["unit"]), theme.level(latest, defaults["thresholds"]["steps"])
    for mapping in defaults.get("mappings", []):
        if result := mapping["options"].get(f"{latest:g}"):
            text, color = result["text"], theme.shade(result["color"])
    if panel["options"]["graphMode"] == "area":
        axes = canvas.axes(place.left + 1, place.top + 0.62 * place.height, place.right - 1, place.bottom - 1)
        axes.set_axis_off()
        axes.fill_between(answer.span.times, values, color=color, alpha=0.2, linewidth=0)
        axes.plot(answer.span.times, values, color=color, linewidth=1)
        axes.set_xlim(answer.span.start, answer.span.end)
        axes.set_ylim(0, max([value for value in values if math.isfinite(value)] + [1e-9]) * 1.1)
    number, _, unit = text.partition(" ")
    middle = place.top + 0.5 * place.height + 4
    end = canvas.text(place.left + 14, middle, number, size=34, color=color, weight="bold", up="center")
    canvas.text(end + 6, middle + 5, unit, size=18, color=color, up="center")


def _graph(canvas: Canvas, panel: Mapping[str, Any], place: Place, answer: Answer) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    custom, unit = defaults["custom"], defaults["unit"]
    looks = [_look(panel, legend, index) for index, (legend, _) in enumerate(answer.series)]
    entries = [(legend, look.color, look.is_bound) for (legend, _), look in zip(answer.series, looks, strict=True)]
    bottom = canvas.legend(place, entries)
    axes = canvas.axes(place.left + 70, place.top + 38, place.right - 14, bottom - 26)
    is_stacked = custom["stacking"]["mode"] == "normal"
    times, below = np.array(answer.span.times), np.zeros(len(answer.span.times))
    most = 0.0
    for (_, series), look in zip(answer.series, looks, strict=True):
        values = np.array(series.values)
        if look.is_bound:
            axes.plot(times, values, color=look.color, linewidth=1.3, dashes=(5, 4), zorder=3)
        elif custom["drawStyle"] == "bars":
            heights = np.nan_to_num(values)
            axes.bar(times, heights, answer.span.step * 0.8, below, color=look.color, linewidth=0)
            below = below + heights
        else:
            top = below + np.nan_to_num(values) if is_stacked else values
            axes.fill_between(times, below, top, color=look.color, alpha=custom["fillOpacity"] / 100, linewidth=0)
            axes.plot(times, np.where(np.isnan(values), np.nan, top), color=look.color, linewidth=1.4)
            below = top if is_stacked else below
        most = max(most, np.nanmax(np.concatenate([values, below]), initial=0.0))
    most = defaults.get("max") or most * 1.08 or 1.0
    axes.set_ylim(0, most)
    ticks = marks(most, unit)
    axes.set_yticks(ticks, [written(tick, unit) for tick in ticks])
    _clock(axes, answer)


def _heat_map(canvas: Canvas, panel: Mapping[str, Any], place: Place, answer: Answer) -> None:
    unit = panel["options"]["yAxis"]["unit"]
    bounds, counts = _cells([series for _, series in answer.series])
    axes = canvas.axes(place.left + 70, place.top + 38, place.right - 14, place.bottom - 30)
    edges = np.append(np.array(answer.span.times) - answer.span.step, answer.span.end)
    shown = np.ma.masked_less(counts, 1e-9)
    norm = PowerNorm(0.5, vmin=0, vmax=float(shown.max()) if shown.count() else 1.0)
    axes.pcolormesh(
        edges, np.arange(len(bounds)), shown, cmap=colormaps["turbo"], norm=norm, edgecolors=theme.PANEL, linewidth=0.4
    )
    every = math.ceil(len(bounds) / _MOST_ROWS)
    axes.set_yticks(range(0, len(bounds), every), [written(bound, unit) for bound in bounds[::every]])
    axes.set_ylim(0, len(bounds) - 1)
    _clock(axes, answer)


def _cells(series: Sequence[Series]) -> tuple[list[float], np.ndarray[Any, Any]]:
    """The bounds of a histogram's buckets, from the first to the last that hold anything, and what each holds over time."""
    rising = sorted((float(found.labels["le"]), np.nan_to_num(np.array(found.values))) for found in series)
    uppers = [upper for upper, _ in rising]
    counts = np.diff(np.array([values for _, values in rising]), axis=0, prepend=0).clip(min=0)
    filled = [row for row in range(len(uppers)) if counts[row].max() > 1e-9] or [0]
    first, last = filled[0], filled[-1]
    bounds = [uppers[first - 1] if first else 0.0, *uppers[first : last + 1]]
    return bounds, counts[first : last + 1]


def _look(panel: Mapping[str, Any], legend: str, index: int) -> _Look:
    """A series' colour and whether it is a bound: the panel's override by name, else the next colour."""
    own = {
        each["id"]: each["value"]
        for override in panel["fieldConfig"]["overrides"]
        if override["matcher"]["options"] == legend
        for each in override["properties"]
    }
    color = own["color"]["fixedColor"] if "color" in own else theme.in_turn(index)
    return _Look(theme.shade(color), "custom.lineStyle" in own)


def _clock(axes: Axes, answer: Answer) -> None:
    start, end = answer.span.start, answer.span.end
    step = next((step for step in _CLOCK_STEPS if (end - start) / step <= 6), _CLOCK_STEPS[-1])
    ticks = [tick * step for tick in range(math.ceil(start / step), math.floor(end / step) + 1)]
    form = "%H:%M:%S" if step < 60 else "%H:%M"
    axes.set_xticks(ticks, [time.strftime(form, time.localtime(tick)) for tick in ticks])
    axes.set_xlim(start, end)
