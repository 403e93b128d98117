"""The dashboards: current, complete, and about metrics that there are."""

import json
import re
from itertools import combinations, pairwise
from pathlib import Path

import pytest

from dashboards.__main__ import GENERATED, documents, main
from dashboards.engine import engine
from dashboards.expressions import expressions, panels_of
from dashboards.overview import overview
from omlx.metrics.spec import METRICS
from tests.promql import labels, metrics, unknown

MONITORING = (Path(__file__).parents[3] / "docs/monitoring.md").read_text("utf-8")
DASHBOARDS = {"overview": overview(), "engine": engine()}
PANELS = [(name, panel) for name, made in DASHBOARDS.items() for panel in panels_of(made)]
QUERIES = [(name, panel["title"], target) for name, panel in PANELS for target in panel["targets"]]


def each(items):
    return pytest.mark.parametrize("item", items, ids=lambda item: f"{item[0]}: {item[1]['title']}")


def test_what_is_committed_is_what_the_code_makes():
    assert {path.name: path.read_text("utf-8") for path in GENERATED.iterdir()} == {
        path.name: text for path, text in documents().items()
    }


def test_a_check_finds_a_file_that_isn_t_current_and_writing_mends_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("dashboards.__main__.GENERATED", tmp_path)
    (tmp_path / "overview.json").write_text("{}")
    assert main(["--check"]) == 1
    assert capsys.readouterr().out.count("isn't current") == 2
    assert (tmp_path / "overview.json").read_text() == "{}"
    assert main([]) == 0
    assert main(["--check"]) == 0


@pytest.mark.parametrize("item", QUERIES, ids=lambda item: f"{item[0]}: {item[1]} {item[2]['refId']}")
def test_an_expression_names_metrics_and_labels_that_there_are(item):
    _, _, target = item
    expression = target["expr"].replace("$__rate_interval", "1m").replace("$__range", "1h")
    assert unknown(expression) == []
    assert metrics(expression)
    shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
    assert shown <= labels(expression)
    assert all("$model" in target["expr"] for metric in METRICS if metric.name in expression and "model_name" in metric.labels)


def test_a_metric_or_label_that_does_not_exist_is_found():
    assert unknown("rate(omlx_nothing_total[1m])") == ["omlx_nothing_total"]
    assert unknown('omlx_num_requests_running{modell="m"}') == ["omlx_num_requests_running.modell"]
    assert unknown("sum by (le) (omlx_num_requests_running)") == ["omlx_num_requests_running by le"]
    assert unknown("sum(omlx_batch_size) + omlx_num_requests_running_sum") == ["omlx_batch_size", "omlx_num_requests_running_sum"]
    assert unknown('histogram_quantile(0.5, sum by (le) (rate(omlx_batch_size_bucket{job="omlx"}[1m] offset 1h)))') == []


@each(PANELS)
def test_a_panel_says_what_it_shows(item):
    _, panel = item
    assert len(panel["title"]) > 3
    assert panel["description"].endswith(".")
    assert panel["datasource"]["uid"] == "${datasource}"
    assert panel["targets"]
    unit = panel["options"]["yAxis"]["unit"] if panel["type"] == "heatmap" else panel["fieldConfig"]["defaults"]["unit"]
    assert unit
    legends = [target["legendFormat"] for target in panel["targets"]]
    assert all(legends)
    assert len(set(legends)) == len(legends)
    assert [target["refId"] for target in panel["targets"]] == list("ABCDEFGH"[: len(legends)])


@each([item for item in PANELS if item[1]["type"] == "heatmap"])
def test_a_heat_map_is_of_a_histogram_s_buckets(item):
    (target,) = item[1]["targets"]
    assert target["format"] == "heatmap"
    assert re.fullmatch(r"sum by \(le\) \(increase\(\w+_bucket\{.*\}\[\$__rate_interval\]\)\)", target["expr"])


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
def test_panels_fill_the_grid_without_overlapping(dashboard):
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(places)
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above
    rows = sorted({place["y"] for place in places})
    for row, following in pairwise(rows):
        line = [place for place in places if place["y"] == row]
        assert sum(place["w"] for place in line) == 24
        assert {place["h"] for place in line} == {following - row}


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
def test_a_dashboard_asks_which_prometheus_and_which_models(dashboard):
    source, model = dashboard["templating"]["list"]
    assert (source["type"], source["query"]) == ("datasource", "prometheus")
    assert model["query"]["query"] == "label_values(omlx_num_requests_running, model_name)"
    assert (model["multi"], model["includeAll"], model["allValue"]) == (True, True, ".*")
    assert model["datasource"]["uid"] == "${datasource}"


def test_they_keep_their_addresses():
    assert {made["uid"] for made in DASHBOARDS.values()} == {"omlx-overview", "omlx-engine"}


def test_an_engine_s_section_is_there_for_each_model():
    (row,) = [panel for panel in DASHBOARDS["engine"]["panels"] if panel["type"] == "row"]
    assert (row["title"], row["repeat"]) == ("$model", "model")


def test_every_metric_of_engines_and_requests_is_on_a_panel():
    shown = {
        re.sub(r"_(bucket|sum|count)$", "", name)
        for made in DASHBOARDS.values()
        for *_, asked in expressions(made)
        for name in metrics(asked)
    }
    elsewhere = {
        "omlx_build_info",  # a version is no course
        "omlx_engines_ready",  # shown by model as memory
        "omlx_generation_tokens_per_second",  # for a look without Prometheus
        "omlx_request_inference_time_seconds",  # shown as its parts
        "omlx_request_success_total",  # a part of omlx_requests_total
        "omlx_request_time_per_output_token_seconds",  # the inter-token latency has it token by token
    }
    assert {metric.name for metric in METRICS} - shown == elsewhere


def test_expressions_come_with_values_in_place_of_the_variables():
    asked = list(expressions(DASHBOARDS["engine"], model="a|b", interval="20s", range_="7m"))
    assert len(asked) == sum(len(panel["targets"]) for panel in panels_of(DASHBOARDS["engine"]))
    assert all("$" not in expression for *_, expression in asked)
    assert (
        "oMLX / Engine",
        "Preemptions",
        'round(sum(increase(omlx_num_preemptions_total{model_name=~"a|b"}[7m]))) or vector(0)',
    ) in asked
    assert any("[20s]" in expression for *_, expression in asked)


def test_a_dashboard_is_plain_json():
    assert all(json.loads(json.dumps(made)) == made for made in DASHBOARDS.values())


@each(PANELS)
def test_a_panel_is_explained(item):
    name, panel = item
    heading = f"### {name.capitalize()}\n"
    section = MONITORING.partition(heading)[2].partition("\n#")[0]
    cells = [row.split(" | ")[0].removeprefix("| ") for row in section.splitlines() if row.startswith("| ")]
    assert any(f", {panel['title']}, " in f", {cell}, " for cell in cells)
