"""What Prometheus answers to a panel's expressions."""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

from dashboards.expressions import substituted

_TIMEOUT_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Span:
    """When to ask for, in seconds since 1970, every `step` seconds."""

    start: float
    end: float
    step: float

    @property
    def times(self) -> list[float]:
        """The moments."""
        return [self.start + number * self.step for number in range(int((self.end - self.start) / self.step + 1e-6) + 1)]

    def wider(self, least: float) -> "Span":
        """The same with steps of at least so many seconds, so that they end where this ends."""
        step = max(self.step, least)
        return Span(self.end - int((self.end - self.start) / step) * step, self.end, step)


@dataclass(frozen=True, slots=True)
class Series:
    """One series: its labels, and a value for each moment of its span, not a number where there is none."""

    labels: Mapping[str, str]
    values: list[float]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a panel's queries brought, each series with its legend; `span` is what was asked for."""

    span: Span
    series: list[tuple[str, Series]]


Query = Callable[[str, Span], list[Series]]


def prometheus(url: str) -> Query:
    """Asks a Prometheus.

    Raises (when asked):
        OSError: It can't be reached, or it refuses an expression.
    """

    def query(expression: str, span: Span) -> list[Series]:
        asked = urlencode({"query": expression, "start": span.start, "end": span.end, "step": span.step})
        with urlopen(f"{url.rstrip('/')}/api/v1/query_range?{asked}", timeout=_TIMEOUT_SECONDS) as response:
            return [_series(found, span) for found in json.load(response)["data"]["result"]]

    return query


def answer(panel: Mapping[str, Any], span: Span, query: Query, *, model: str, scrape_seconds: float) -> Answer:
    """Ask what a panel asks, with what Grafana would put in place of its variables.

    Args:
        panel: As it was generated.
        span: What the dashboard shows; a panel with an interval of its own, or fewer points, has wider steps.
        query: Whom to ask.
        model: Whom `$model` stands for, a regular expression.
        scrape_seconds: How often the server is scraped.
    """
    least = _seconds(panel.get("interval", "0s"))
    if points := panel.get("maxDataPoints"):
        least = max(least, (span.end - span.start) / points)
    own = span.wider(least)
    interval = f"{math.ceil(max(own.step + scrape_seconds, 4 * scrape_seconds))}s"
    range_ = f"{math.ceil(span.end - span.start)}s"
    series = [
        (_legend(target["legendFormat"], found.labels), found)
        for target in panel["targets"]
        for found in query(substituted(target["expr"], model, interval, range_), own)
    ]
    return Answer(own, series)


def _series(found: Mapping[str, Any], span: Span) -> Series:
    at = {round((time - span.start) / span.step): float(value) for time, value in found["values"]}
    return Series(found["metric"], [at.get(number, math.nan) for number in range(len(span.times))])


def _legend(form: str, labels: Mapping[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda label: labels.get(label[1], ""), form)


def _seconds(duration: str) -> float:
    return float(duration[:-1]) * {"s": 1, "m": 60, "h": 3600}[duration[-1]]
