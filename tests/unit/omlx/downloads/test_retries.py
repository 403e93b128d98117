"""Requests are made again after ever longer waits, or after the time that is asked for, and not for ever."""

import pytest

from omlx.downloads.errors import TransientError, UnreachableError
from omlx.downloads.retries import Retries

RETRIES = Retries(count=6, first_seconds=1, longest_seconds=30, longest_asked_seconds=600)


def test_waits_double_up_to_the_longest():
    assert [RETRIES.delay(failed, TransientError("cut")) for failed in range(1, 7)] == [1, 2, 4, 8, 16, 30]


def test_what_the_other_side_asks_for_counts_instead():
    assert RETRIES.delay(1, TransientError("429", after=120)) == 120
    assert RETRIES.delay(5, TransientError("429", after=0)) == 0


def test_it_ends_after_so_many_tries_with_the_last_reason():
    with pytest.raises(UnreachableError, match="Given up after 7 tries: the line was cut"):
        RETRIES.delay(7, TransientError("the line was cut"))


def test_nobody_is_made_to_wait_for_hours():
    with pytest.raises(UnreachableError, match="come back in 3600 s"):
        RETRIES.delay(1, TransientError("it answered 429", after=3600))
