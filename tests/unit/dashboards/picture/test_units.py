"""Numbers as Grafana writes them."""

import math

import pytest

from dashboards.picture.units import marks, written


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0, "s", "0 s"),
        (0.000_25, "s", "250 µs"),
        (0.0421, "s", "42.1 ms"),
        (1.5, "s", "1.5 s"),
        (90, "s", "1.5 min"),
        (7200, "s", "2 hour"),
        (0, "bytes", "0 B"),
        (1.5 * 1024**3, "bytes", "1.5 GiB"),
        (0.0512, "percentunit", "5.12%"),
        (12.34, "reqps", "12.3 req/s"),
        (12345, "suffix:tok/s", "12345 tok/s"),
        (7, "short", "7"),
        (12345, "short", "12.3 K"),
        (math.nan, "s", "-"),
    ],
)
def test_a_value_is_written_in_its_unit(value, unit, text):
    assert written(value, unit) == text


@pytest.mark.parametrize(
    ("most", "unit", "expected"),
    [
        (1.0, "percentunit", [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (7.0, "short", [0, 2, 4, 6]),
        (3.0, "short", [0, 1, 2, 3]),
        (3 * 1024**3, "bytes", [0, 1024**3, 2 * 1024**3, 3 * 1024**3]),
        (0, "s", [0]),
    ],
)
def test_marks_are_round(most, unit, expected):
    assert marks(most, unit) == pytest.approx(expected)
