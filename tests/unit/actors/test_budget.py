"""Who goes when memory is short."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.catalog.budget import Evict, Holding, Place, Standing, Verdict, decide, free_on

IDLE, LEAVING, HELD = Standing.IDLE, Standing.LEAVING, Standing.HELD


def on(node, engine_id, reserved, standing, last_used=0):
    return Holding(engine_id, node, reserved, standing, last_used)


def test_what_fits_sends_nobody_away():
    assert decide(5, {"x": 8}, [on("x", "a", 3, IDLE)]) == Place("x")


def test_the_node_with_the_most_room_is_taken():
    assert decide(5, {"x": 9, "y": 8, "z": 7}, [on("x", "a", 3, HELD)]) == Place("y")


def test_the_least_recently_used_goes_first():
    holdings = [on("x", "new", 3, IDLE, 9), on("x", "old", 3, IDLE, 1), on("x", "older but held", 3, HELD, 0)]
    assert decide(5, {"x": 13}, holdings) == Evict("old")


def test_nobody_goes_where_all_would_not_be_enough():
    assert decide(9, {"x": 14}, [on("x", "a", 3, IDLE), on("x", "b", 9, HELD)]) is Verdict.REFUSE


def test_nobody_goes_from_a_node_where_it_would_be_in_vain():
    holdings = [on("small", "old", 3, IDLE, 1), on("large", "new", 6, IDLE, 9)]
    assert decide(6, {"small": 4, "large": 8}, holdings) == Evict("new")


def test_room_on_several_nodes_is_no_room_for_one():
    assert decide(6, {"x": 5, "y": 5}, []) is Verdict.REFUSE
    assert decide(1, {}, []) is Verdict.REFUSE


def test_room_that_is_on_its_way_is_waited_for():
    assert decide(8, {"x": 8}, [on("x", "a", 3, IDLE), on("x", "b", 3, LEAVING)]) is Verdict.WAIT
    assert decide(8, {"x": 17}, [on("x", "a", 4, IDLE), on("x", "b", 9, LEAVING)]) == Evict("a")  # which is sooner


def test_whoever_may_send_nobody_away_has_room_or_none():
    holdings = [on("x", "a", 3, IDLE), on("x", "b", 3, LEAVING)]
    assert decide(5, {"x": 8}, holdings, evicting=False) is Verdict.REFUSE
    assert decide(2, {"x": 8}, holdings, evicting=False) == Place("x")


def test_engines_of_a_node_that_is_gone_count_nowhere():
    assert free_on({"x": 8}, [on("x", "a", 3, HELD), on("gone", "b", 9, IDLE)]) == {"x": 5}
    assert decide(6, {"x": 8}, [on("x", "a", 3, HELD), on("gone", "b", 9, IDLE)]) is Verdict.REFUSE


@given(
    st.integers(1, 50),
    st.dictionaries(st.sampled_from("xy"), st.integers(0, 60)),
    st.lists(
        st.builds(
            on,
            st.sampled_from("xyz"),
            st.text("ab", max_size=3),
            st.integers(0, 20),
            st.sampled_from(Standing),
            st.integers(0, 9),
        )
    ),
)
def test_sending_away_goes_on_until_it_fits_and_takes_none_that_stays(needed, nodes, holdings):
    gone = []
    fitted = any(needed <= room for room in free_on(nodes, holdings).values())
    while isinstance(decision := decide(needed, nodes, holdings), Evict):
        index = next(i for i, each in enumerate(holdings) if each.engine_id == decision.engine_id and each.standing is IDLE)
        gone.append(holdings[index])
        holdings = holdings[:index] + holdings[index + 1 :]
    assert all(each.standing is IDLE for each in gone)
    if gone:
        assert isinstance(decision, Place)
        assert not fitted  # somebody had to go
    assert isinstance(decision, Place) == any(needed <= room for room in free_on(nodes, holdings).values())


@pytest.mark.parametrize("standing", [HELD, LEAVING])
def test_only_idle_engines_are_sent_away(standing):
    assert not isinstance(decide(1, {"x": 9}, [on("x", "a", 9, standing)]), Evict)
