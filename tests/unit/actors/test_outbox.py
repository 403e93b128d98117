"""An outbox is empty once its stream has passed on what was put, and comes for more."""

import asyncio

from actors.contracts import Delta, StepItem
from actors.engine.outbox import Outbox
from scheduler.stats import SchedulerStats


def test_an_outbox_is_empty_when_its_stream_comes_back_for_more():
    async def test():
        outbox = Outbox(SchedulerStats())
        assert not outbox.is_empty  # nobody has come for the first item
        await outbox.take()
        more = asyncio.create_task(outbox.take())
        await asyncio.wait_for(outbox.emptied(), 5)
        outbox.put(Delta("a"))
        outbox.send(SchedulerStats())
        assert not outbox.is_empty
        assert StepItem.decode(await more).deltas == (Delta("a"),)
        assert not outbox.is_empty  # it may still be on its way
        more = asyncio.create_task(outbox.take())
        await asyncio.wait_for(outbox.emptied(), 5)
        assert outbox.is_empty
        more.cancel()

    asyncio.run(test())
