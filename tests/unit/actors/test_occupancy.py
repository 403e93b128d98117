"""An engine is busy from a job's coming to its end, and idle from then on."""

import asyncio

import pytest

from actors.engine.occupancy import Occupancy


def test_idling_begins_with_the_load_and_again_with_the_last_jobs_end():
    now = 10.0
    occupancy = Occupancy(lambda: now)
    now = 20.0
    assert (occupancy.idle_seconds, occupancy.ready_seconds) == (0, 0)  # loading
    occupancy.loaded()
    now = 25.0
    assert occupancy.idle_seconds == 5
    occupancy.begin()
    occupancy.begin()
    now = 30.0
    occupancy.end()
    assert (occupancy.held, occupancy.idle_seconds) == (1, 0)
    occupancy.end()
    now = 33.0
    assert (occupancy.held, occupancy.idle_seconds, occupancy.ready_seconds) == (0, 3, 13)


def test_a_job_that_ends_before_the_load_leaves_the_engine_loading():
    now = 10.0
    occupancy = Occupancy(lambda: now)
    occupancy.begin()
    occupancy.end()
    now = 20.0
    assert occupancy.idle_seconds == 0


def test_emptiness_is_waited_for_and_a_newcomer_prolongs_it():
    async def test():
        occupancy = Occupancy()
        await occupancy.empty()
        occupancy.begin()
        empty = asyncio.create_task(occupancy.empty())
        await asyncio.sleep(0)
        occupancy.end()
        occupancy.begin()  # before the waiting task has its turn
        await asyncio.sleep(0)
        assert not empty.done()
        occupancy.end()
        await asyncio.wait_for(empty, 5)

    asyncio.run(test())


def test_an_end_without_a_beginning_is_our_own_mistake():
    with pytest.raises(AssertionError, match="twice"):
        Occupancy().end()
