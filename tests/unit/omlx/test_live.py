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


def watch(app, *steps):
    """What comes once each step's text has come, and what the step does then is done."""

    async def follow():
        call = Call(app, "GET", "/admin/api/live")
        running = asyncio.create_task(call.run())
        for text, do in steps:
            await call.wait_for(text)
            do()
        while call.body.count(b"data: ") < 3:
            await call.wait_for(b"data: ")
            await asyncio.sleep(0)
        call.leave()
        await running
        return call

    return asyncio.run(follow())


def test_it_goes_on_until_the_client_leaves():
    call = watch(create_app(Busy(models=("tiny",))))
    assert call.headers["content-type"].startswith("text/event-stream")
    first = events(call.body)[0]
    assert [model["id"] for model in first["catalog"]["models"]] == ["tiny"]
    engine = first["engines"]["tiny"]
    assert (engine["running"], engine["waiting"], engine["kv_bytes"], engine["prefix_hit_rate"]) == (3, 1, 5, 0.25)
    assert (engine["tokens_per_second"], engine["time_to_first_token"]) == (0.0, None)


def test_it_says_for_how_long_the_server_and_each_engine_have_been_ready():
    services = Busy(models=("tiny",))
    app = create_app(services)
    asyncio.run(services.catalog.load("tiny"))
    first, second, *_ = events(watch(app).body)
    assert 0 < first["uptime_seconds"] < second["uptime_seconds"] < 60
    (engine,) = first["catalog"]["models"][0]["engines"]
    assert (engine["ready_seconds"], engine["max_concurrent_requests"]) == (7.0, 8)


def test_the_latest_warnings_and_errors_are_told_and_those_that_come(tmp_path):
    file = tmp_path / "server.log"

    def add(*rows):
        with file.open("a") as opened:
            opened.writelines(f"2026-11-23 14:03:07,000 {row}\n" for row in rows)

    add(*(f"WARNING number {number}" for number in range(6)), "INFO    fine")
    app = create_app(Busy(), log_dir=tmp_path)
    steps = (b"number 5", lambda: add("ERROR   it failed", "INFO    fine again")), (b"it failed", lambda: None)
    first, *_, last = events(watch(app, *steps).body)
    assert [line["message"] for line in first["problems"]] == [f"number {number}" for number in range(1, 6)]
    assert [(line["level"], line["message"]) for line in last["problems"][-2:]] == [
        ("warning", "number 5"),
        ("error", "it failed"),
    ]
    assert len(last["problems"]) == 5


def test_without_log_files_there_are_no_problems():
    assert events(watch(create_app(Busy())).body)[0]["problems"] == []
