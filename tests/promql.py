"""What a PromQL expression names, and whether the metrics that there are have it; what of an alert can be asked at any time."""

from collections.abc import Iterator

import promql_parser as promql

from omlx.metrics.spec import METRICS, Kind

_PARTS = ("_bucket", "_sum", "_count")
_TARGET = {"job", "instance"}  # what Prometheus itself puts on every series
_LABELS = {"up": _TARGET} | {
    f"{metric.name}{part}": {*metric.labels, *_TARGET, *(["le"] if part == "_bucket" else [])}
    for metric in METRICS
    for part in (_PARTS if metric.kind is Kind.HISTOGRAM else ("",))
}
_COMPARISONS = {"==", "!=", ">", "<", ">=", "<="}


def unknown(expression: str) -> list[str]:
    """The metrics and labels in an expression that don't exist; what it adds up by must be a label of every metric within."""
    found = []
    tree = promql.parse(expression)
    for selector in _selectors(tree):
        if selector.name not in _LABELS:
            found.append(selector.name)
        else:
            found += [
                f"{selector.name}.{matcher.name}"
                for matcher in selector.matchers.matchers
                if matcher.name not in _LABELS[selector.name]
            ]
    for part in _all(tree):
        if isinstance(part, promql.AggregateExpr) and part.modifier is not None:
            assert part.modifier.type == promql.AggModifierType.By
            for selector in _selectors(part):
                known = _LABELS.get(selector.name, set())
                found += [f"{selector.name} by {label}" for label in part.modifier.labels if label not in known]
    return found


def metrics(expression: str) -> set[str]:
    """The metrics that an expression asks for, as they are scraped."""
    return {selector.name for selector in _selectors(promql.parse(expression))}


def labels(expression: str) -> set[str]:
    """The labels that its series can have: by which it adds up, or all."""
    tree = promql.parse(expression)
    sums = [part for part in _all(tree) if isinstance(part, promql.AggregateExpr)]
    if sums:
        return {label for part in sums if part.modifier is not None for label in part.modifier.labels}
    return {label for selector in _selectors(tree) for label in _LABELS[selector.name]}


def measures(alert: str) -> Iterator[str]:
    """What an alert's expression compares, without what it is compared to: it should have a value at any time."""
    yield from _measures(promql.parse(alert))


def _measures(tree: promql.Expr) -> Iterator[str]:
    if isinstance(tree, promql.BinaryExpr) and str(tree.op) in {"and", "or", "unless"}:
        yield from _measures(tree.lhs)
        yield from _measures(tree.rhs)
    elif isinstance(tree, promql.BinaryExpr) and str(tree.op) in _COMPARISONS:
        yield tree.lhs.prettify()
    else:
        assert isinstance(tree, promql.Call), "an alert compares something, or says that it is absent"
        assert tree.func.name == "absent"
        yield tree.args[0].prettify()


def _selectors(tree: promql.Expr) -> Iterator[promql.VectorSelector]:
    return (part for part in _all(tree) if isinstance(part, promql.VectorSelector))


def _all(tree: promql.Expr) -> Iterator[promql.Expr]:
    """An expression and everything in it."""
    yield tree
    for name in ("lhs", "rhs", "expr", "vector_selector"):
        if (inner := getattr(tree, name, None)) is not None:
            yield from _all(inner)
    for inner in getattr(tree, "args", None) or ():
        yield from _all(inner)
