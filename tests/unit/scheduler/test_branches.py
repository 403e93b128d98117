"""The branch found is the one that shares most, whatever there is beside it."""

from hypothesis import given
from hypothesis import strategies as st

from scheduler.branches import Branches

tokens = st.lists(st.integers(0, 2), min_size=1, max_size=6).map(tuple)


def common(one, other):
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def of(names):
    branches = Branches()
    for name in names:
        branches.add(name, name)
    return branches


@given(st.sets(tokens, max_size=30), st.one_of(tokens, st.just(())))
def test_the_nearest_shares_the_longest_beginning(names, wanted):
    best, length = of(names).nearest(wanted)
    assert length == max((common(name, wanted) for name in names), default=0)
    assert (best is None) == (length == 0)
    assert best is None or common(best, wanted) == length


@given(st.sets(tokens, max_size=30), tokens)
def test_beginnings_are_given_from_the_longest(names, wanted):
    expected = [wanted[:length] for length in range(len(wanted), 0, -1) if wanted[:length] in names]
    assert list(of(names).beginnings(wanted)) == expected


@given(st.sets(tokens, min_size=1, max_size=30), st.data())
def test_what_was_removed_is_not_found(names, data):
    branches = of(names)
    gone = data.draw(st.sampled_from(sorted(names)))
    branches.remove(gone)
    assert branches.get(gone) is None
    assert sorted(branches) == sorted(names - {gone})
    assert len(branches) == len(names) - 1
    assert branches.nearest(gone)[1] == max((common(name, gone) for name in names - {gone}), default=0)


def test_a_look_up_among_thousands_that_begin_alike_compares_a_few(monkeypatch):
    branches = of([(7,) * 20 + (n,) for n in range(5000)])
    compared = []
    monkeypatch.setattr("scheduler.branches._common", lambda one, other: compared.append(one) or common(one, other))
    assert branches.nearest((7,) * 20 + (2500, 1))[1] == 21
    assert len(compared) <= 2
