"""What goes through an encoder together: little padding, nobody forgotten, nobody waiting behind one large request."""

import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scheduler.encoding import EncodingQueue, choose

LENGTHS = st.lists(st.integers(1, 600), min_size=1, max_size=60)
BUDGETS = st.integers(1, 8192)


def padding(lengths):
    return len(lengths) * max(lengths) - sum(lengths)


def allowed(lengths):
    return max(0.15 * len(lengths) * max(lengths), 32)


@given(LENGTHS, BUDGETS)
def test_a_forward_has_the_first_and_keeps_to_the_budget_and_to_little_padding(lengths, budget):
    chosen = choose(lengths, budget)
    assert 0 in chosen
    assert len(set(chosen)) == len(chosen)
    together = [lengths[place] for place in chosen]
    assert together == sorted(together)
    if len(chosen) > 1:
        assert len(together) * max(together) <= budget
        assert padding(together) <= allowed(together)


@given(LENGTHS, BUDGETS)
@example([18, 1, 1], 54)
@example([59, 42, 42, 59], 236)
def test_nothing_that_fits_between_is_left_out(lengths, budget):
    chosen = choose(lengths, budget)
    together = [lengths[place] for place in chosen]
    others = [length for place, length in enumerate(lengths) if place not in chosen]
    for other in others:
        # One more within the same bounds would be more tokens for the same forward.
        more = [*together, other]
        fits = len(more) * max(more) <= budget and padding(more) <= allowed(more)
        assert min(together) > other or other > max(together) or not fits


@given(LENGTHS, BUDGETS)
def test_of_equally_long_ones_the_earlier_go_first(lengths, budget):
    chosen = set(choose(lengths, budget))
    for place in chosen:
        assert all(earlier in chosen for earlier in range(place) if lengths[earlier] == lengths[place])


@pytest.mark.parametrize(
    ("lengths", "budget", "expected"),
    [
        ([50], 10, (0,)),  # longer than the budget: alone
        ([8, 8, 8, 8], 24, (0, 1, 2)),
        ([5, 9], 1000, (0, 1)),  # a forward of its own costs more than four tokens
        ([10, 400, 11], 1000, (0, 2)),
        ([400, 10, 390, 11, 380], 2000, (4, 2, 0)),
        ([4096, 4096], 1 << 20, (0,)),  # attention's memory grows with the square
    ],
)
def test_what_goes_together(lengths, budget, expected):
    assert choose(lengths, budget) == expected


def drain(queue, budget):
    while taken := queue.take(budget):
        yield taken


@given(st.lists(LENGTHS, max_size=8), BUDGETS)
def test_every_sequence_is_taken_once(requests, budget):
    queue = EncodingQueue()
    for number, lengths in enumerate(requests):
        queue.add(str(number), lengths)
    assert len(queue) == sum(map(len, requests))
    taken = [name for forward in drain(queue, budget) for name in forward]
    assert sorted(taken) == sorted((str(n), index) for n, lengths in enumerate(requests) for index in range(len(lengths)))
    assert len(queue) == 0


@given(st.lists(LENGTHS, min_size=1, max_size=8), BUDGETS)
def test_every_request_leads_within_as_many_forwards_as_there_are_requests(requests, budget):
    queue = EncodingQueue()
    for number, lengths in enumerate(requests):
        queue.add(str(number), lengths)
    served = set()
    for _ in requests:
        served |= {request_id for request_id, _ in queue.take(budget)}
    assert served == {str(number) for number in range(len(requests))}


def test_a_small_request_is_not_kept_waiting_by_a_large_one_that_came_before():
    queue = EncodingQueue()
    queue.add("large", [100] * 5000)
    queue.take(1000)
    queue.add("small", [7])
    first, second = queue.take(1000), queue.take(1000)
    assert ("small", 0) in first + second


def test_small_requests_without_end_dont_starve_a_large_one():
    queue = EncodingQueue()
    queue.add("large", [500] * 20)
    done = 0
    for number in range(100):
        queue.add(f"small {number}", [5])
        done += sum(request_id == "large" for request_id, _ in queue.take(1000))
    assert done == 20


def test_what_is_dropped_is_not_taken():
    queue = EncodingQueue()
    queue.add("a", [5, 5, 5])
    queue.add("b", [5])
    queue.drop("a")
    queue.drop("never here")
    assert len(queue) == 1
    assert queue.take(100) == (("b", 0),)
    assert queue.take(100) == ()


@pytest.mark.parametrize("seed", range(5))
def test_mixed_lengths_cost_less_than_a_sixth_more_and_few_forwards(seed):
    lengths = [min(int(random.Random(f"{seed} {n}").lognormvariate(3.5, 0.9)) + 2, 512) for n in range(500)]  # noqa: S311
    queue = EncodingQueue()
    queue.add("a", lengths)
    fed = forwards = 0
    for taken in drain(queue, 4096):
        rows = [lengths[index] for _, index in taken]
        fed += len(rows) * max(rows)
        forwards += 1
    assert (fed - sum(lengths)) / fed < 0.15
    assert forwards < 2 * sum(lengths) / 4096 + 15
