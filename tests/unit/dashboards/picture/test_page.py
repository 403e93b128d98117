"""Pictures of the dashboards, from answers that are made up."""

import math
from io import BytesIO

import numpy as np
import pytest
from matplotlib.image import imread

from dashboards.engine import engine
from dashboards.overview import overview
from dashboards.picture.__main__ import main
from dashboards.picture.answers import Series, Span
from dashboards.picture.page import picture
from dashboards.picture.plots import _cells

SPAN = Span(1_700_000_000, 1_700_000_600, 10)


def waves(expression, span):
    """Something for everything: buckets where buckets are asked for, two models and a gap elsewhere."""
    if "sum by (le) (increase" in expression:
        return [Series({"le": le}, [number * 1.0 for _ in span.times]) for number, le in enumerate(["0.1", "0.5", "+Inf"])]
    values = [2 + math.sin(moment / 50) for moment in span.times]
    return [Series({"model_name": "one", "phase": "forward"}, values), Series({"model_name": "two"}, [math.nan, *values[1:]])]


def nothing(_expression, _span):
    return []


def pixels(png):
    return (imread(BytesIO(png))[:, :, :3] * 255).round().astype(int)


@pytest.mark.parametrize("make", [overview, engine])
def test_a_picture_has_every_panel_where_grafana_would_put_it(make):
    dashboard = make()
    drawn, empty = pixels(picture(dashboard, SPAN, waves)), pixels(picture(dashboard, SPAN, nothing))
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"])
    assert drawn.shape == (56 + 38 * rows + 12, 1800, 3)
    for panel in dashboard["panels"]:
        if panel["type"] != "row":
            place = panel["gridPos"]
            top, left = 56 + 38 * place["y"], 12 + 74 * place["x"]
            inside = np.s_[top + 34 : top + 38 * place["h"] - 12, left + 8 : left + 74 * place["w"] - 8]
            assert (drawn[inside] != empty[inside]).any(), panel["title"]
            assert tuple(empty[top + 12, left + 74 * place["w"] - 12]) == (0x18, 0x1B, 0x1F), panel["title"]


def test_a_number_has_the_colour_of_its_level():
    def memory(share):
        def query(expression, span):
            return [Series({}, [share] * len(span.times))] if "omlx_memory_used_bytes" in expression else []

        dashboard = overview()
        dashboard["panels"] = [panel for panel in dashboard["panels"] if panel["title"] == "Memory"]
        return {tuple(pixel) for pixel in pixels(picture(dashboard, SPAN, query)).reshape(-1, 3)}

    green, red = (0x73, 0xBF, 0x69), (0xF2, 0x49, 0x5C)
    assert green in memory(0.5)
    assert red not in memory(0.5)
    assert red in memory(0.97)


def test_a_heat_map_has_the_buckets_that_hold_something():
    rising = {"0.1": [0.0, 0.0], "0.5": [2.0, 0.0], "1.0": [5.0, 1.0], "2.5": [5.0, 1.0], "+Inf": [5.0, 1.0]}
    bounds, counts = _cells([Series({"le": le}, values) for le, values in reversed(rising.items())])
    assert bounds == [0.1, 0.5, 1.0]
    assert counts.tolist() == [[2, 0], [3, 1]]


def test_the_command_draws_into_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr("dashboards.picture.__main__.prometheus", lambda url: {"http://p": waves}[url])
    target = tmp_path / "it.png"
    assert main(["--prometheus", "http://p", "--minutes", "5", "--out", str(target)]) == 0
    assert target.read_bytes().startswith(b"\x89PNG")


def test_the_command_says_that_nobody_answers(tmp_path, capsys):
    target = tmp_path / "it.png"
    assert main(["--prometheus", "http://127.0.0.1:1", "--out", str(target)]) == 1
    assert "http://127.0.0.1:1 can't be asked" in capsys.readouterr().err
    assert not target.exists()
