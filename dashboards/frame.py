"""What every dashboard has around its panels: variables, links, a place for each panel."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import dashboard as parts
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from dashboards.panels import DATASOURCE, Panel
from omlx.metrics.spec import REQUESTS_RUNNING

WIDTH = 24  # columns of Grafana's grid
_TAG = "omlx"


@dataclass(frozen=True, slots=True)
class Line:
    """Panels beside each other, of equal width.

    Attributes:
        height: In rows of Grafana's grid, 38 pixels each.
    """

    height: int
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Section:
    """Lines under a heading.

    Attributes:
        title: The heading; `$model` in it is the model's name.
        lines: From the top down.
        by_model: Whether the section is there once for each of the chosen models.
    """

    title: str
    lines: Sequence[Line]
    by_model: bool = False


def dashboard(uid: str, title: str, description: str, sections: Sequence[Section]) -> dict[str, Any]:
    """A dashboard as Grafana imports it."""
    frame = (
        parts.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([_TAG])
        .editable()
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .time("now-30m", "now")
        .refresh("10s")
        .timezone("browser")
        .version(1)
        .with_variable(
            parts.DatasourceVariable("datasource").label("Data source").type("prometheus").description("The Prometheus to ask")
        )
        .with_variable(_model_variable())
        .link(
            parts.DashboardLink("oMLX")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags([_TAG])
            .as_dropdown(False)
            .include_vars(True)
            .keep_time(True)
        )
    )
    ids = iter(range(1, 1000))
    top = 0
    for section in sections:
        heading = parts.Row(section.title).id(next(ids)).grid_pos(models.GridPos(h=1, w=WIDTH, x=0, y=top))
        frame.with_row(heading.repeat("model") if section.by_model else heading)
        top += 1
        for line in section.lines:
            width = WIDTH // len(line.panels)
            for column, panel in enumerate(line.panels):
                built = panel.build()
                built.id_val = next(ids)
                built.grid_pos = models.GridPos(h=line.height, w=width, x=column * width, y=top)
                frame.with_panel(panel)
            top += line.height
    return _plain(frame.build())


def _model_variable() -> parts.QueryVariable:
    return (
        parts.QueryVariable("model")
        .label("Model")
        .description("Models that had an engine in the time range; All has the requests for models that aren't there, too")
        .datasource(DATASOURCE)
        .query({"qryType": 1, "query": f"label_values({REQUESTS_RUNNING.name}, model_name)", "refId": "model"})
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_CASE_INSENSITIVE_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(models.VariableOption(selected=True, text="All", value="$__all"))
    )


def _plain(built: models.Dashboard) -> dict[str, Any]:
    """The SDK's objects as JSON has them."""
    plain: dict[str, Any] = json.loads(json.dumps(built, cls=JSONEncoder))
    return plain
