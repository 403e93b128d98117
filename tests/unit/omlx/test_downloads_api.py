"""Models are looked for and fetched over HTTP."""

import asyncio
import json

import pytest

from omlx.api import sse
from omlx.app import create_app
from tests.fakes.download_service import CARD, FakeDownloads
from tests.fakes.http import Call, get, send
from tests.fakes.services import FakeServices

SOURCES = {"hf": "hf", "ms": "modelscope"}


@pytest.fixture
def downloads():
    return FakeDownloads()


@pytest.fixture
def app(downloads):
    return create_app(FakeServices(), downloads=downloads)


@pytest.mark.parametrize("place", SOURCES)
def test_a_search_by_its_query(app, downloads, place):
    found = get(app, f"/admin/api/{place}/search?q=qwen%203&sort=likes&limit=5&only_mlx=false").json
    assert downloads.searches == [{"source": SOURCES[place], "words": "qwen 3", "sort": "likes", "limit": 5, "only_mlx": False}]
    assert found["endpoint"] == "https://hub"
    assert found["models"] == [
        {"repository": "org/tiny", "downloads": 5, "likes": None, "updated": 1.5e9, "is_mlx": True, "is_gated": False}
    ]


@pytest.mark.parametrize(("query", "param"), [("limit=0", "limit"), ("limit=x", "limit"), ("sort=size", "sort")])
def test_a_search_that_can_t_be(app, query, param):
    answer = get(app, f"/admin/api/hf/search?{query}")
    assert (answer.status, answer.json["error"]["param"]) == (400, param)


def test_a_model_s_card(app):
    assert get(app, "/admin/api/hf/model-info?model=org/tiny").json == CARD
    missing = get(app, "/admin/api/ms/model-info?model=org/other&revision=v1")
    assert (missing.status, missing.json["error"]["code"]) == (404, "model_not_found")
    assert "modelscope at v1" in missing.json["error"]["message"]
    assert get(app, "/admin/api/hf/model-info").json["error"]["code"] == "missing_required_parameter"


@pytest.mark.parametrize("place", SOURCES)
def test_a_download_from_its_wish_to_its_end(app, downloads, place):
    asked = {"model": "org/tiny", "revision": "main", "ignore": ["*.py"]}
    begun = send(app, f"/admin/api/{place}/download", asked)
    assert begun.status == 202
    task = begun.json
    expected = {
        "source": SOURCES[place],
        "repository": "org/tiny",
        "name": "tiny",
        "revision": "main",
        "allow": [],
        "ignore": ["*.py"],
    }
    assert {**task, **expected} == task
    for verb, state in (("pause", "paused"), ("retry", "queued"), ("cancel", "cancelled")):
        assert send(app, f"/admin/api/{place}/{verb}/{task['id']}", {}).json["state"] == state
    downloads.finish(task["id"])
    (shown,) = get(app, f"/admin/api/{place}/tasks").json["tasks"]
    assert (shown["state"], shown["progress"]["done"]) == ("done", 9)
    other = next(each for each in SOURCES if each != place)
    assert get(app, f"/admin/api/{other}/tasks").json == {"tasks": []}
    assert send(app, f"/admin/api/{place}/tasks/{task['id']}", {}, method="DELETE").status == 200
    assert get(app, f"/admin/api/{place}/tasks").json == {"tasks": []}


@pytest.mark.parametrize(
    "asked", [{}, {"model": ""}, {"model": "a/b", "allow": "*.json"}, {"model": "a" * 300}, {"model": "a", "name": ""}]
)
def test_a_wish_that_can_t_be(app, asked):
    assert send(app, "/admin/api/hf/download", asked).status == 400


def test_a_task_that_isn_t_there(app):
    answer = send(app, "/admin/api/hf/cancel/nope", {})
    assert (answer.status, answer.json["error"]["code"]) == (404, "download_not_found")


@pytest.mark.parametrize("path", ["download", "cancel/t0", "tasks/t0"])
def test_a_page_of_another_site_fetches_nothing(app, path):
    method = "DELETE" if path.startswith("tasks") else "POST"
    answer = send(app, f"/admin/api/hf/{path}", {"model": "org/tiny"}, method=method, headers={"sec-fetch-site": "cross-site"})
    assert (answer.status, answer.json["error"]["code"]) == (403, "cross_site")


def test_tasks_as_events_until_the_client_leaves(app, downloads, monkeypatch):
    monkeypatch.setattr(sse, "_QUIET_SECONDS", 0.01)

    async def follow():
        call = Call(app, "GET", "/admin/api/hf/events")
        running = asyncio.create_task(call.run())
        await call.wait_for(b'{"tasks":[]}')
        await downloads.add("hf", {"repository": "org/tiny", "name": "tiny", "revision": None, "allow": [], "ignore": []})
        await call.wait_for(b'"state":"queued"')
        await call.wait_for(sse.QUIET)
        downloads.finish("t0")
        await call.wait_for(b'"state":"done"')
        call.leave()
        await running
        return call

    call = asyncio.run(follow())
    assert call.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line[6:]) for line in call.body.split(b"\n") if line.startswith(b"data: ")]
    assert [[task["state"] for task in each["tasks"]] for each in events] == [[], ["queued"], ["done"]]


def test_without_anybody_who_fetches_there_are_no_routes():
    assert get(create_app(FakeServices()), "/admin/api/hf/tasks").status == 404
