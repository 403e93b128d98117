"""Writes docs/metrics.md: `python -m omlx.metrics.page > docs/metrics.md`."""

import sys

from omlx.metrics.spec import METRICS, MetricSpec

_HEAD = """# Metrics

`GET /metrics`, in Prometheus' text format, or in OpenMetrics where the `Accept` header asks for it. The names after `omlx_` are
vLLM's where it has the metric, so queries carry over. Beside these, Prometheus' usual `process_…` metrics of the server's
process are there on Linux. `model_name` is a model's id; a model that doesn't exist makes no series. All durations come from one
process' steady clock each: what clients feel is measured in the server's, queue, prefill and decode in the engine's. A model's
counters go on when its engine is replaced. [monitoring.md](monitoring.md) has dashboards and alerts.

This page is made from `omlx/metrics/spec.py` by `python -m omlx.metrics.page > docs/metrics.md`.

| metric | kind | unit | labels | what it says |
|---|---|---|---|---|
"""
_BUCKETS = """
The buckets end at these bounds:

| metric | upper bounds |
|---|---|
"""


def page() -> str:
    """The whole page."""
    rows = "".join(f"| {' | '.join(_cells(metric))} |\n" for metric in METRICS)
    buckets = "".join(
        f"| `{metric.name}` | {', '.join(f'{bound:g}' for bound in metric.buckets)} |\n" for metric in METRICS if metric.buckets
    )
    return _HEAD + rows + _BUCKETS + buckets


def _cells(metric: MetricSpec) -> tuple[str, ...]:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"`{metric.name}`", metric.kind.value, metric.unit, labels, metric.help


if __name__ == "__main__":
    sys.stdout.write(page())
