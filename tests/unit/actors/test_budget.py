"""Who goes when memory is short."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.catalog.budget import Evict, Holding, Standing, Verdict, decide

IDLE, LEAVING, HELD = Standing.IDLE, Standing.LEAVING, Standing.HELD


def test_what_fits_sends_nobody_away():
    assert decide(5, 5, [Holding("a", 3, IDLE, 0)]) is Verdict.FITS


def test_the_least_recently_used_goes_first():
    holdings = [Holding("new", 3, IDLE, 9), Holding("old", 3, IDLE, 1), Holding("older but held", 3, HELD, 0)]
    assert decide(5, 4, holdings) == Evict("old")


def test_nobody_goes_where_all_would_not_be_enough():
    assert decide(9, 2, [Holding("a", 3, IDLE, 0), Holding("b", 9, HELD, 0)]) is Verdict.REFUSE


def test_room_that_is_on_its_way_is_waited_for():
    assert decide(8, 2, [Holding("a", 3, IDLE, 0), Holding("b", 3, LEAVING, 0)]) is Verdict.WAIT
    assert decide(8, 4, [Holding("a", 4, IDLE, 0), Holding("b", 9, LEAVING, 0)]) == Evict("a")  # which is sooner


@given(
    st.integers(0, 50),
    st.integers(-20, 50),
    st.lists(st.builds(Holding, st.text("ab", max_size=3), st.integers(0, 20), st.sampled_from(Standing), st.integers(0, 9))),
)
def test_sending_away_goes_on_until_it_fits_and_takes_none_that_stays(needed, free, holdings):
    gone = []
    while isinstance(decision := decide(needed, free, holdings), Evict):
        index = next(i for i, each in enumerate(holdings) if each.engine_id == decision.engine_id and each.standing is IDLE)
        gone.append(holdings[index])
        free += holdings[index].reserved
        holdings = holdings[:index] + holdings[index + 1 :]
    assert all(each.standing is IDLE for each in gone)
    if gone:
        assert decision is Verdict.FITS
        assert free - gone[-1].reserved < needed  # the last one had to go too
    assert (decision is Verdict.FITS) == (needed <= free)


@pytest.mark.parametrize("standing", [HELD, LEAVING])
def test_only_idle_engines_are_sent_away(standing):
    assert not isinstance(decide(1, 0, [Holding("a", 9, standing, 0)]), Evict)
