"""Log lines over HTTP: what there is, and what comes."""

import asyncio
import logging

import pytest

from actors.log_lines import line_format
from omlx.api import logs as routes
from omlx.app import create_app
from tests.fakes.http import Call, events, get
from tests.fakes.services import FakeServices


def log(folder, who, message, level="info", **fields):
    record = logging.LogRecord("omlx", getattr(logging, level.upper()), "", 1, message, (), None)
    vars(record).update(fields)
    with (folder / f"{who}.log").open("a") as file:
        file.write(line_format("json").format(record) + "\n")


@pytest.fixture
def folder(tmp_path):
    log(tmp_path, "server", "starting", created=1_700_000_000.0)
    log(tmp_path, "engine-tiny", "it broke", "critical", created=1_700_000_001.25, exception="Traceback\nKeyError")
    log(tmp_path, "server", "GET / 500", "error", created=1_700_000_002.0, request_id="req_1")
    return tmp_path


@pytest.fixture
def app(folder):
    return create_app(FakeServices(), log_dir=folder)


def test_the_latest_lines_of_all(app):
    shown = get(app, "/admin/api/logs").json
    assert shown["sources"] == ["engine-tiny", "server"]
    assert [line["message"] for line in shown["lines"]] == ["starting", "it broke", "GET / 500"]
    assert shown["lines"][1:] == [
        {
            "time": "2023-11-14T22:13:21.250Z",
            "level": "critical",
            "source": "engine-tiny",
            "message": "it broke",
            "request_id": None,
            "exception": "Traceback\nKeyError",
        },
        {
            "time": "2023-11-14T22:13:22.000Z",
            "level": "error",
            "source": "server",
            "message": "GET / 500",
            "request_id": "req_1",
            "exception": None,
        },
    ]


@pytest.mark.parametrize(
    ("query", "messages"),
    [
        ("level=error", ["it broke", "GET / 500"]),
        ("source=server", ["starting", "GET / 500"]),
        ("source=server&level=error", ["GET / 500"]),
        ("limit=1", ["GET / 500"]),
    ],
)
def test_some_of_them(app, query, messages):
    assert [line["message"] for line in get(app, f"/admin/api/logs?{query}").json["lines"]] == messages


@pytest.mark.parametrize("path", ["/admin/api/logs", "/admin/api/logs/events"])
@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("level=loud", "level"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("source=nobody", "source"),
        ("source=", "source"),
        ("source=../server", "source"),
        ("source=/etc/passwd", "source"),
    ],
)
def test_what_can_t_be_asked(app, path, query, param):
    answer = get(app, f"{path}?{query}")
    assert (answer.status, answer.json["error"]["param"]) == (400, param)


def test_a_wrong_source_is_told_which_there_are(app):
    assert "engine-tiny, server" in get(app, "/admin/api/logs?source=nobody").json["error"]["message"]


def test_without_a_folder_there_are_none():
    assert get(create_app(FakeServices()), "/admin/api/logs").status == 404


def test_a_page_of_elsewhere_gets_none(app):
    assert get(app, "/admin/api/logs", headers={"host": "evil.example"}).status == 403


def test_a_stream_goes_on_with_what_is_written(app, folder, monkeypatch):
    monkeypatch.setattr(routes, "_SECONDS", 0.001)

    async def follow():
        call = Call(app, "GET", "/admin/api/logs/events?level=warning&limit=1")
        running = asyncio.create_task(call.run())
        await call.wait_for(b"GET / 500")
        log(folder, "server", "nobody asked for this")
        log(folder, "catalog", "a newcomer", "warning")
        await call.wait_for(b"a newcomer")
        call.leave()
        await running
        return call

    call = asyncio.run(follow())
    assert call.headers["content-type"].startswith("text/event-stream")
    first, *others = events(call.body)
    assert [line["message"] for line in first["lines"]] == ["GET / 500"]
    assert [line["message"] for each in others for line in each["lines"]] == ["a newcomer"]
    assert others[-1]["sources"] == ["catalog", "engine-tiny", "server"]


def test_a_stream_without_lines_says_that_it_lives(app, monkeypatch):
    monkeypatch.setattr(routes, "_SECONDS", 0.001)
    monkeypatch.setattr(routes, "_QUIET_LOOKS", 3)

    async def follow():
        call = Call(app, "GET", "/admin/api/logs/events")
        running = asyncio.create_task(call.run())
        await call.wait_for(b": quiet\n\n: quiet\n\n")
        call.leave()
        await running

    asyncio.run(follow())
