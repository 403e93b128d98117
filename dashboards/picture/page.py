"""A whole dashboard as a picture: its heading, its sections, its panels where Grafana would put them."""

import time
from collections.abc import Mapping
from typing import Any

from dashboards.frame import WIDTH
from dashboards.picture import theme
from dashboards.picture.answers import Query, Span, answer
from dashboards.picture.canvas import Canvas, Place
from dashboards.picture.plots import draw

_PICTURE, _EDGE, _HEADING, _ROW, _GAP = 1800, 12, 56, 38, 8  # pixels; a row and the gap are Grafana's


def picture(dashboard: Mapping[str, Any], span: Span, query: Query, *, model: str = ".*", scrape_seconds: float = 5.0) -> bytes:
    """Draw a dashboard, as a PNG.

    Args:
        dashboard: As it was generated.
        span: What it shows.
        query: Whom to ask.
        model: Whom `$model` stands for, a regular expression.
        scrape_seconds: How often the server is scraped.
    """
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"])
    canvas = Canvas(_PICTURE, _HEADING + rows * _ROW + _EDGE)
    shown = "All" if model == ".*" else model
    end = canvas.text(_EDGE + 4, _HEADING / 2, dashboard["title"], size=19, weight="bold", up="center")
    canvas.text(end + 30, _HEADING / 2 + 1, f"Model  {shown}", size=13, color=theme.FAINT, up="center")
    times = " to ".join(time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment)) for moment in (span.start, span.end))
    canvas.text(_PICTURE - _EDGE - 4, _HEADING / 2, times, size=13, color=theme.FAINT, across="right", up="center")
    for panel in dashboard["panels"]:
        place = _place(panel["gridPos"])
        if panel["type"] == "row":
            title = panel["title"].replace("$model", shown)
            canvas.text(place.left + 4, place.top + place.height / 2, f"▾  {title}", size=15, weight="bold", up="center")
        else:
            draw(canvas, panel, place, answer(panel, span, query, model=model, scrape_seconds=scrape_seconds))
    return canvas.png()


def _place(grid: Mapping[str, int]) -> Place:
    column = (_PICTURE - 2 * _EDGE) / WIDTH
    return Place(
        _EDGE + grid["x"] * column + _GAP / 2,
        _HEADING + grid["y"] * _ROW,
        grid["w"] * column - _GAP,
        grid["h"] * _ROW - _GAP,
    )
