"""Whoever follows the catalog hears of everything once."""

from actors.catalog.event_log import _KEPT, EventLog
from actors.control import LifeEvent


def test_events_after_a_revision_are_told_in_order():
    log = EventLog()
    a, b, c = (LifeEvent(name, "restart") for name in "abc")
    log.add(5, a)
    log.add(5, b)
    log.add(7, c)
    assert log.since(4) == (a, b, c)
    assert log.since(5) == (c,)
    assert log.since(7) == ()


def test_only_the_latest_are_kept():
    log = EventLog()
    for number in range(_KEPT + 10):
        log.add(number, LifeEvent(str(number), "restart"))
    assert [event.model_id for event in log.since(-1)] == [str(number) for number in range(10, _KEPT + 10)]
