"""Models are called by their own names, and by as much more as tells them apart."""

from hypothesis import given
from hypothesis import strategies as st

from actors.catalog.model_ids import model_ids


def ids(*paths):
    return list(model_ids([tuple(path.split("/")) for path in paths]).values())


def test_a_name_of_its_own_is_enough():
    assert ids("models/a", "models/org/b", "hub/org/c") == ["a", "b", "c"]


def test_models_of_one_name_are_all_told_apart():
    assert ids("models/org/a", "models/other/a") == ["org/a", "other/a"]
    assert ids("models/a", "models/org/a") == ["models/a", "org/a"]
    assert ids("one/a", "two/a") == ["one/a", "two/a"]


def test_longer_tails_are_taken_where_they_must_be():
    assert sorted(ids("one/models/a", "two/models/a", "two/org/a")) == ["one/models/a", "org/a", "two/models/a"]
    assert sorted(ids("models/a", "one/models/a")) == ["models/a", "one/models/a"]


@given(st.sets(st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(tuple), max_size=12))
def test_no_two_ever_have_one_id(labels):
    found = model_ids(labels)
    assert set(found) == labels
    assert len(set(found.values())) == len(labels)
