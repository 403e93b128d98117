"""What panels look like: one function a kind."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from grafana_foundation_sdk.builders import common as options
from grafana_foundation_sdk.builders import dashboard as parts
from grafana_foundation_sdk.builders import heatmap, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common, units
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode, HeatmapColorScale
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

DATASOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
SECONDS, BYTES, RATIO, COUNT = units.Seconds, units.BytesIEC, units.PercentUnit, units.Short
REQUESTS_PER_SECOND, TOKENS_PER_SECOND, STEPS_PER_SECOND = units.RequestsPerSecond, "suffix:tok/s", "suffix:steps/s"
GREEN, YELLOW, ORANGE, RED, BLUE, PURPLE, GREY = "green", "yellow", "orange", "red", "blue", "purple", "#9fa7b3"

Style = Literal["lines", "stack", "bars"]
Panel = Builder[models.Panel]


@dataclass(frozen=True, slots=True)
class Query:
    """One expression of a panel.

    Attributes:
        expression: In PromQL, with Grafana's variables.
        legend: What its series are called; `{{label}}` stands for a label's value.
        color: Of the only series with that legend; empty leaves it to Grafana.
        is_bound: Whether it is a bound that others should stay under: a dashed line that isn't stacked.
    """

    expression: str
    legend: str
    color: str = ""
    is_bound: bool = False


def number(
    title: str,
    description: str,
    query: str,
    *,
    unit: str = COUNT,
    levels: Sequence[tuple[float, str]] = (),
    base: str = BLUE,
    texts: dict[str, tuple[str, str]] | None = None,
    is_latest: bool = False,
) -> Panel:
    """One big number, over its course.

    Args:
        title: What it is.
        description: What to make of it.
        query: An expression of one series.
        unit: Grafana's name for it.
        levels: From which value on it has which colour.
        base: Its colour below all of these.
        texts: Values that are shown as a text, in a colour.
        is_latest: Whether only its value at the end of the time range is asked for.
    """
    target = prometheus.Dataquery().expr(query).ref_id("A").datasource(DATASOURCE).legend_format(title)
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .min(0)
        .thresholds(_thresholds(base, levels))
        .color_scheme(parts.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
        .color_mode(common.BigValueColorMode.VALUE)
        .graph_mode(common.BigValueGraphMode.NONE if is_latest or texts else common.BigValueGraphMode.AREA)
        .reduce_options(options.ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(target.instant() if is_latest else target.range())
    )
    if texts:
        results = {value: models.ValueMappingResult(text=text, color=color) for value, (text, color) in texts.items()}
        panel.mappings([models.ValueMap(options=results)])
    return panel


def graph(
    title: str,
    description: str,
    *queries: Query,
    unit: str = COUNT,
    style: Style = "lines",
    most: float | None = None,
    at_least_every: str = "",
) -> Panel:
    """Series over time.

    Args:
        title: What they are.
        description: What to make of them.
        queries: Each with one or more series.
        unit: Grafana's name for what the axis counts.
        style: Lines, areas on top of each other, or bars on top of each other.
        most: Where the axis ends; by default where the series do.
        at_least_every: How far points are apart at least, such as `1m`.
    """
    is_stacked = style != "lines"
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .min(0)
        .draw_style(common.GraphDrawStyle.BARS if style == "bars" else common.GraphDrawStyle.LINE)
        .line_width(1)
        .fill_opacity({"lines": 8, "stack": 35, "bars": 80}[style])
        .show_points(common.VisibilityMode.NEVER)
        .stacking(
            options.StackingConfig().mode(common.StackingMode.NORMAL if is_stacked else common.StackingMode.NONE).group("A")
        )
        .legend(
            options.VizLegendOptions()
            .show_legend(True)
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
        )
        .tooltip(options.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING))
    )
    if most is not None:
        panel.max(most)
    if at_least_every:
        panel.interval(at_least_every)
    for ref_id, query in zip("ABCDEFGH", queries, strict=False):
        panel.with_target(
            prometheus.Dataquery()
            .expr(query.expression)
            .legend_format(query.legend)
            .ref_id(ref_id)
            .datasource(DATASOURCE)
            .range()
        )
        if look := _look(query):
            panel.override_by_name(query.legend, look)
    return panel


def heat_map(title: str, description: str, query: str, *, unit: str = SECONDS) -> Panel:
    """How a histogram's observations are spread, over time; the query rises by `le`."""
    target = prometheus.Dataquery().expr(query).legend_format("{{le}}").format(PromQueryFormat.HEATMAP)
    return (
        heatmap.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .calculate(False)
        .color(
            heatmap.HeatmapColorOptions()
            .mode(HeatmapColorMode.SCHEME)
            .scheme("Turbo")
            .scale(HeatmapColorScale.EXPONENTIAL)
            .exponent(0.5)
            .steps(64)
            .fill("dark-orange")
        )
        .y_axis(heatmap.YAxisConfig().unit(unit).axis_placement(common.AxisPlacement.LEFT))
        .cell_values(heatmap.CellValues().unit(COUNT).decimals(0))
        .mode(common.TooltipDisplayMode.SINGLE)
        .show_y_histogram()
        .show_legend()
        .max_data_points(80)  # cells that can be told apart
        .with_target(target.ref_id("A").datasource(DATASOURCE).range())
    )


def _thresholds(base: str, levels: Sequence[tuple[float, str]]) -> parts.ThresholdsConfig:
    steps = [models.Threshold(value=None, color=base), *(models.Threshold(value=value, color=color) for value, color in levels)]
    return parts.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def _look(query: Query) -> list[models.DynamicConfigValue]:
    look: list[tuple[str, Any]] = []
    if query.color:
        look.append(("color", {"mode": "fixed", "fixedColor": query.color}))
    if query.is_bound:
        look += [
            ("custom.stacking", {"mode": "none", "group": "bounds"}),
            ("custom.lineStyle", {"fill": "dash", "dash": [10, 8]}),
            ("custom.fillOpacity", 0),
        ]
    return [models.DynamicConfigValue(id_val=name, value=value) for name, value in look]
