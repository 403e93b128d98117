"""What is said of a download: what is there, and how fast the rest comes."""

import pytest

from omlx.downloads.progress import Progress, Tally


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_what_was_there_before_counts_as_done_and_not_as_speed():
    clock = Clock()
    tally = Tally(1000, 2, clock)
    tally.found(400)
    tally.finished()
    clock.now = 2
    tally.came(200)
    assert tally.progress() == Progress(600, 1000, 1, 2, 100.0, 4.0)


def test_speed_is_of_late():
    clock = Clock()
    tally = Tally(100_000, 1, clock)
    for clock.now in range(1, 11):
        tally.came(1000)
        tally.progress()
    for clock.now in range(11, 31):
        tally.came(10)
        last = tally.progress()
    assert last.bytes_per_second == pytest.approx(10)


def test_a_file_that_begins_again_takes_back_what_it_had():
    tally = Tally(1000, 1, Clock())
    tally.came(300)
    tally.found(-300)
    assert tally.progress().done == 0


def test_before_anything_comes_there_is_no_speed_and_no_end():
    progress = Tally(1000, 1, Clock()).progress()
    assert (progress.bytes_per_second, progress.seconds_left) == (0, None)
