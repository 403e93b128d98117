"""The alerts: about metrics that there are, tested by promtool, and explained."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.promql import measures, metrics, unknown

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "dashboards"
(GROUP,) = yaml.safe_load((FOLDER / "alerts.yaml").read_text("utf-8"))["groups"]
RULES = {rule["alert"]: rule for rule in GROUP["rules"]}
CHECKS = (["check", "rules", "alerts.yaml"], ["test", "rules", "alerts_test.yaml"], ["check", "config", "prometheus.yml"])

each = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool isn't installed; CI has it")
@pytest.mark.parametrize("check", [*CHECKS, ["check", "config", "prometheus.desktop.yml"]], ids=" ".join)
def test_promtool_finds_no_fault(check):
    done = subprocess.run(["promtool", *check], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@each
def test_an_alert_names_metrics_and_labels_that_there_are(rule):
    assert unknown(rule["expr"]) == []
    assert metrics(rule["expr"])


@each
def test_an_alert_says_how_bad_it_is_and_what_to_do(rule):
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert set(rule["annotations"]) == {"summary", "description"}
    assert len(rule["annotations"]["description"]) > 80


@each
def test_an_alert_is_explained(rule):
    assert f"| `{rule['alert']}` | {rule['labels']['severity']} |" in (ROOT / "docs/monitoring.md").read_text("utf-8")


def test_every_alert_is_tested_to_fire_and_to_stay_silent():
    tests = yaml.safe_load((FOLDER / "alerts_test.yaml").read_text("utf-8"))["tests"]
    cases = [case for test in tests for case in test["alert_rule_test"]]
    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == set(RULES)
    assert {case["alertname"] for case in cases if not case.get("exp_alerts")} == set(RULES)


def test_what_an_alert_measures_is_told_without_its_bounds():
    assert list(measures('up{job="omlx"} == 0 or absent(up{job="omlx"})')) == ['up{job="omlx"}', 'up{job="omlx"}']
    assert list(measures("deriv(a[10m]) * 600 > 5 and b > 0")) == ["deriv(a[10m]) * 600", "b"]
    assert list(measures("(a or 0 * b) > 0")) == ["(a or 0 * b)"]
    assert all(list(measures(rule["expr"])) for rule in RULES.values())
