"""Numbers as Grafana writes them in its units, and where an axis has its marks."""

import math

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB")
_SHORT = ((1e9, " Bil"), (1e6, " Mil"), (1e3, " K"))
_TIMES = ((3600, 3600, "hour"), (60, 60, "min"), (1, 1, "s"), (1e-3, 1e-3, "ms"), (0, 1e-6, "µs"))
_MARKS = 5


def written(value: float, unit: str) -> str:
    """A value in a unit, with up to three digits that matter."""
    if math.isnan(value):
        return "-"
    if unit == "s":
        return _seconds(value)
    if unit == "bytes":
        power = min(int(math.log(value, 1024)), len(_BINARY) - 1) if value >= 1 else 0
        return f"{_digits(value / 1024**power)} {_BINARY[power]}"
    if unit == "percentunit":
        return f"{_digits(value * 100)}%"
    suffix = {"reqps": " req/s"}.get(unit, f" {unit.removeprefix('suffix:')}" if unit.startswith("suffix:") else "")
    for size, word in _SHORT if not suffix else ():
        if abs(value) >= size:
            return f"{_digits(value / size)}{word}"
    return f"{_digits(value)}{suffix}"


def marks(most: float, unit: str) -> list[float]:
    """Round values from 0 to the largest that an axis shows."""
    if most <= 0:
        return [0.0]
    rough = most / _MARKS
    if unit == "bytes":
        step = 2.0 ** math.ceil(math.log2(rough))
    else:
        digits = (1, 2, 5, 10) if unit == "short" else (1, 2, 2.5, 5, 10)
        size = 10.0 ** math.floor(math.log10(rough))
        step = next(size * digit for digit in digits if size * digit >= rough * 0.999)
        if unit == "short" and most >= 2:
            step = max(step, 1.0)  # things that are counted
    return [number * step for number in range(int(most / step + 1e-6) + 1)]


def _seconds(value: float) -> str:
    if value == 0:
        return "0 s"
    size, name = next((size, name) for least, size, name in _TIMES if abs(value) >= least)
    return f"{_digits(value / size)} {name}"


def _digits(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:.0f}"
    text = f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"
    return text.rstrip("0").rstrip(".")
