"""Steps cross to the event loop in order, none is lost, and a loop that is behind is woken once."""

import asyncio
import threading

from actors.engine.relay import StepRelay
from scheduler.request import Timing
from scheduler.stats import SchedulerStats
from scheduler.step import TokenEvent


def event(token):
    return TokenEvent("a", token, Timing(0.0, 0.0), 0.0)


class SlowLoop:
    """Runs what it was asked to when it is told to."""

    def __init__(self):
        self.calls = []

    def call_soon_threadsafe(self, call):
        self.calls.append(call)

    def run(self):
        calls, self.calls = self.calls, []
        for call in calls:
            call()


def test_a_loop_that_is_behind_takes_several_steps_at_one_call():
    loop, taken = SlowLoop(), []
    relay = StepRelay(loop, lambda events, stats: taken.append(([e.token for e in events], stats.steps)))
    for step in range(1, 4):
        relay.put((event(step), event(-step)), SchedulerStats(steps=step))
    assert len(loop.calls) == 1
    loop.run()
    relay.put((), SchedulerStats(steps=4))
    loop.run()
    assert taken == [([1, -1, 2, -2, 3, -3], 3), ([], 4)]


def test_a_loop_that_is_far_behind_is_waited_for():
    loop, put = SlowLoop(), []
    relay = StepRelay(loop, lambda _events, _stats: None)

    def steps():
        for step in range(20):
            relay.put((event(step),), SchedulerStats(steps=step))
            put.append(step)

    thread = threading.Thread(target=steps)
    thread.start()
    while thread.is_alive():
        loop.run()
        ahead = len(put)
        thread.join(0.05)  # nobody takes anything meanwhile
        assert len(put) <= ahead + 5
    assert put == list(range(20))


def test_what_is_put_while_the_loop_looks_is_not_lost():
    taken = []

    async def test():
        done = asyncio.Event()

        def take(events, stats):
            taken.extend(event.token for event in events)
            if stats.steps == 20_000:
                done.set()

        relay = StepRelay(asyncio.get_running_loop(), take)

        def steps():
            for step in range(1, 20_001):
                relay.put((event(step),), SchedulerStats(steps=step))

        thread = threading.Thread(target=steps)
        thread.start()
        await asyncio.wait_for(done.wait(), 30)
        thread.join()

    asyncio.run(test())
    assert taken == list(range(1, 20_001))
