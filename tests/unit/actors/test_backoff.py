"""How crashes are answered."""

from actors.catalog.backoff import Backoff


def test_the_first_restart_comes_at_once_then_later_and_later_and_the_fifth_crash_ends_it():
    backoff = Backoff()
    assert [backoff.crashed(now, loading=False) for now in range(5)] == [0, 1, 2, 4, None]


def test_crashes_of_long_ago_dont_count():
    backoff = Backoff()
    for now in (0, 10, 20):
        backoff.crashed(now, loading=False)
    assert backoff.crashed(611, loading=False) == 1  # beside the one at 20


def test_a_load_that_kills_its_process_twice_is_not_tried_a_third_time():
    backoff = Backoff()
    assert backoff.crashed(0, loading=True) == 0
    assert backoff.crashed(1, loading=True) is None


def test_a_load_that_succeeds_clears_those_that_did_not():
    backoff = Backoff()
    backoff.crashed(0, loading=True)
    backoff.loaded()
    assert backoff.crashed(1, loading=True) == 1
