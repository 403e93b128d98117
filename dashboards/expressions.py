"""The expressions of a generated dashboard, as they can be put to Prometheus without Grafana."""

from collections.abc import Iterator
from typing import Any

_DEFAULT_RANGE = "30m"


def expressions(
    dashboard: dict[str, Any], model: str = ".+", interval: str = "1m", range_: str = _DEFAULT_RANGE
) -> Iterator[tuple[str, str, str]]:
    """Each expression of a dashboard, with the titles of its dashboard and its panel.

    Args:
        dashboard: As it was generated.
        model: Whom `$model` stands for, a regular expression.
        interval: What `$__rate_interval` is.
        range_: What `$__range` is.
    """
    for panel in panels_of(dashboard):
        for target in panel["targets"]:
            yield dashboard["title"], panel["title"], substituted(target["expr"], model, interval, range_)


def panels_of(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The panels that ask for something, in their order."""
    return (panel for panel in dashboard["panels"] if panel["type"] != "row")


def substituted(expression: str, model: str, interval: str, range_: str = _DEFAULT_RANGE) -> str:
    """An expression with values in place of Grafana's variables."""
    for variable, value in {"$__rate_interval": interval, "$__range": range_, "$model": model}.items():
        expression = expression.replace(variable, value)
    return expression
