"""The arithmetic of KV costs and of a full queue."""

from hypothesis import given
from hypothesis import strategies as st

from scheduler.kv_cost import KvCost
from scheduler.queue_bound import QueueBound


def test_a_cost_has_a_fixed_part_a_growing_part_and_windows():
    cost = KvCost(fixed=1000, per_token=10, windows=((8, 3),), granule=4)
    assert cost.of(1) == 1000 + 40 + 12
    assert cost.of(8) == 1000 + 80 + 24
    assert cost.of(9) == 1000 + 120 + 24


@given(st.integers(0, 50), st.integers(1, 9), st.integers(0, 2000), st.integers(1, 300))
def test_the_tokens_within_a_budget_are_the_most_that_fit(fixed, per_token, budget, most):
    cost = KvCost(fixed=fixed, per_token=per_token, windows=((8, 3),))
    tokens = cost.tokens_within(budget, most)
    assert tokens == 0 or cost.of(tokens) <= budget
    assert tokens == most or cost.of(tokens + 1) > budget


def test_a_full_queue_names_the_time_that_one_place_takes():
    bound = QueueBound(10)
    for end in range(0, 20, 5):  # one ends every five seconds
        bound.ended(float(end))
    assert bound.retry_after(9, now=20.0) is None
    assert bound.retry_after(10, now=20.0) == 5
    assert bound.retry_after(10, now=2000.0) == 60


def test_a_queue_that_is_resized_counts_by_its_new_bound():
    bound = QueueBound(2)
    bound.resize(3)
    assert bound.retry_after(2, now=0.0) is None
    bound.resize(1)
    assert bound.retry_after(2, now=0.0) == 1


def test_a_queue_that_never_drained_is_asked_again_soon():
    assert QueueBound(1).retry_after(1, now=5.0) == 1
