"""What runs, every second."""

import asyncio

import pytest

from omlx.api import live
from omlx.app import create_app
from scheduler.stats import SchedulerStats
from tests.fakes.http import Call, events
from tests.fakes.services import FakeServices


class Busy(FakeServices):
    """Services with an engine that does something."""

    def engine_stats(self):
        return {"tiny": SchedulerStats(running=3, waiting=1, kv_bytes=5, prefix_queries=8, prefix_hits=2, generation_tokens=40)}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(live, "_SECONDS", 0.01)


def test_it_goes_on_until_the_client_leaves():
    app = create_app(Busy(models=("tiny",)))

    async def follow():
        call = Call(app, "GET", "/admin/api/live")
        running = asyncio.create_task(call.run())
        while call.body.count(b"data: ") < 3:
            await call.wait_for(b"data: ")
            await asyncio.sleep(0)
        call.leave()
        await running
        return call

    call = asyncio.run(follow())
    assert call.headers["content-type"].startswith("text/event-stream")
    first = events(call.body)[0]
    assert [model["id"] for model in first["catalog"]["models"]] == ["tiny"]
    engine = first["engines"]["tiny"]
    assert (engine["running"], engine["waiting"], engine["kv_bytes"], engine["prefix_hit_rate"]) == (3, 1, 5, 0.25)
    assert (engine["tokens_per_second"], engine["time_to_first_token"]) == (0.0, None)
