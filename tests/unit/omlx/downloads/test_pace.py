"""A limit on speed holds for all threads together."""

import pytest

from omlx.downloads.pace import Pace


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_each_byte_takes_its_time_whoever_reads_it():
    pace = Pace(1000, Clock())
    assert [pace.take(500), pace.take(500), pace.take(1000)] == pytest.approx([0.5, 1.0, 2.0])


def test_a_wait_that_took_too_long_is_made_up_for():
    clock = Clock()
    pace = Pace(1000, clock)
    for _ in range(100):
        wait = pace.take(10)
        clock.now += wait + 0.005
    assert clock.now == pytest.approx(101.0, abs=0.02)


def test_time_that_was_not_used_is_not_saved_up():
    clock = Clock()
    pace = Pace(1000, clock)
    pace.take(1000)
    clock.now += 60
    assert pace.take(1000) == pytest.approx(0.75)


def test_without_a_limit_nobody_waits():
    assert Pace(None).take(1 << 40) == 0
