"""How the panels ask for the metrics of `omlx.metrics.spec`. Whatever a model counts is asked for the chosen models only."""

from omlx.metrics.spec import Kind, MetricSpec

RATE_INTERVAL = "$__rate_interval"
RANGE = "$__range"
_CHOSEN_MODELS = 'model_name=~"$model"'


def series(metric: MetricSpec, *matchers: str, part: str = "") -> str:
    """A metric's series.

    Args:
        metric: Which.
        matchers: What their labels must be, such as `status=~"5.."`.
        part: `_bucket`, `_sum` or `_count` of a histogram.
    """
    assert bool(part) == (metric.kind is Kind.HISTOGRAM), metric.name
    wanted = ", ".join([*([_CHOSEN_MODELS] if "model_name" in metric.labels else []), *matchers])
    return f"{metric.name}{part}{{{wanted}}}" if wanted else f"{metric.name}{part}"


def total(metric: MetricSpec, *matchers: str, by: str = "", part: str = "") -> str:
    """Values added up: of models, and of servers where several are scraped."""
    return f"{_sum(by)}({series(metric, *matchers, part=part)})"


def rate(metric: MetricSpec, *matchers: str, by: str = "", part: str = "") -> str:
    """How fast a counter rises, by the second."""
    return f"{_sum(by)}(rate({series(metric, *matchers, part=part)}[{RATE_INTERVAL}]))"


def rise(metric: MetricSpec, *matchers: str, by: str = "", over: str = RATE_INTERVAL, part: str = "") -> str:
    """By how much a counter rose."""
    return f"{_sum(by)}(increase({series(metric, *matchers, part=part)}[{over}]))"


def happened(metric: MetricSpec, *matchers: str, by: str = "") -> str:
    """By how much a counter of rare things rose, also where it begins with the first of them, which `increase` wouldn't see."""
    counter = series(metric, *matchers)
    before = f"{_sum(by)}({counter} offset {RATE_INTERVAL}) or 0 * {_sum(by)}({counter})"
    return f"clamp_min({_sum(by)}({counter}) - ({before}), 0)"


def quantile(part: float, metric: MetricSpec, *matchers: str, by: str = "") -> str:
    """What this part of a histogram's observations was below."""
    buckets = rate(metric, *matchers, by=f"le, {by}" if by else "le", part="_bucket")
    return f"histogram_quantile({part}, {buckets})"


def mean(metric: MetricSpec, *matchers: str, by: str = "") -> str:
    """The mean of a histogram's observations."""
    return f"{rate(metric, *matchers, by=by, part='_sum')} / {rate(metric, *matchers, by=by, part='_count')}"


def or_zero(expression: str) -> str:
    """0 where there is no series yet, because what it counts has never happened."""
    return f"{expression} or vector(0)"


def or_none(expression: str, label: str, name: str = "none") -> str:
    """The same where series differ by a label; the 0 is given one of the label's usual values, or `none`."""
    return f'{expression} or on () label_replace(vector(0), "{label}", "{name}", "", "")'


def named(expression: str, label: str, name: str) -> str:
    """A name for the series whose label is empty."""
    return f'label_replace({expression}, "{label}", "{name}", "{label}", "")'


def _sum(by: str) -> str:
    return f"sum by ({by}) " if by else "sum"
