"""Models are measured over HTTP."""

import asyncio
import json

import pytest

from actors.models import ModelType
from omlx.app import create_app
from omlx.benchmark.bench import Bench
from tests.fakes.catalog import served
from tests.fakes.http import Call, get, post, send
from tests.fakes.services import FakeServices
from tests.fakes.timed_services import TimedServices

PATH = "/admin/api/benchmarks"
ASKED = {"model": "tiny", "lengths": [20], "batches": [1], "output_tokens": 4, "repetitions": 1}


def app_of(services, folder):
    return create_app(services, benchmarks=Bench(services, folder, services.clock), admin_hosts=["models.example"])


@pytest.fixture
def app(tmp_path):
    return app_of(TimedServices(models=("tiny", served("vectors", ModelType.EMBEDDING))), tmp_path)


def test_a_run_from_the_wish_to_its_export(app, tmp_path):
    async def run():
        begun = await post(app, PATH, ASKED).run()
        watching = Call(app, "GET", f"{PATH}/events")
        following = asyncio.create_task(watching.run())
        await watching.wait_for(b'"running":null')
        watching.leave()
        await following
        export = await Call(app, "GET", f"{PATH}/{begun.json['id']}").run()
        listed = await Call(app, "GET", PATH).run()
        deleted = await post(app, f"{PATH}/{begun.json['id']}", {}, method="DELETE").run()
        return begun, watching, export, listed, deleted

    begun, watching, export, listed, deleted = asyncio.run(run())
    assert (begun.status, begun.json["state"]) == (202, "running")
    assert watching.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line[6:]) for line in watching.body.split(b"\n") if line.startswith(b"data: ")]
    assert events[0]["running"]["id"] == begun.json["id"]
    assert events[-1] == listed.json
    assert [run["id"] for run in listed.json["runs"]] == [begun.json["id"]]
    (cell,) = export.json["cells"]
    assert (cell["length"], cell["batch"], cell["error"], len(cell["repetitions"])) == (20, 1, None, 1)
    assert cell["figures"]["decode_tokens_per_second"] == pytest.approx(10)
    assert export.json["plan"] == {"lengths": [20], "batches": [1], "output_tokens": 4, "repetitions": 1}
    assert deleted.json == {"running": None, "runs": []}
    assert list(tmp_path.iterdir()) == []


def test_the_model_alone_is_enough_and_null_is_absent(app):
    shown = send(app, PATH, {"model": "tiny", "lengths": None}).json["plan"]
    assert shown == {"lengths": [128, 512], "batches": [1, 4], "output_tokens": 32, "repetitions": 3}


def test_a_second_run_has_to_wait_and_a_cancelled_one_makes_room(tmp_path):
    services = TimedServices(halt=2)
    app = app_of(services, tmp_path)

    async def run():
        begun = await post(app, PATH, ASKED).run()
        await services.halted.wait()
        second = await post(app, PATH, ASKED).run()
        removal = await post(app, f"{PATH}/{begun.json['id']}", {}, method="DELETE").run()
        cancelled = await post(app, f"{PATH}/{begun.json['id']}/cancel", {}).run()
        return second, removal, cancelled

    second, removal, cancelled = asyncio.run(run())
    for refused in (second, removal):
        assert (refused.status, refused.json["error"]["code"]) == (409, "benchmark_running")
    assert (cancelled.status, cancelled.json["state"]) == (200, "cancelled")


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"lengths": []}, "lengths"),
        ({"lengths": [8]}, "lengths.0"),
        ({"lengths": [128, 40_000]}, "lengths.1"),
        ({"lengths": ["128"]}, "lengths.0"),
        ({"lengths": [128] * 9}, "lengths"),
        ({"batches": [0]}, "batches.0"),
        ({"batches": [65]}, "batches.0"),
        ({"output_tokens": 1}, "output_tokens"),
        ({"output_tokens": 1e9}, "output_tokens"),
        ({"repetitions": 0}, "repetitions"),
        ({"repetitions": True}, "repetitions"),
    ],
)
def test_a_wish_that_can_t_be(app, change, param):
    answer = send(app, PATH, ASKED | change)
    assert (answer.status, answer.json["error"]["param"]) == (400, param)
    assert get(app, PATH).json == {"running": None, "runs": []}


def test_a_model_that_generates_nothing_can_t_be_measured(app):
    answer = send(app, PATH, ASKED | {"model": "vectors"})
    assert (answer.status, answer.json["error"]["code"]) == (400, "wrong_model_type")
    assert "/v1/embeddings" in answer.json["error"]["message"]
    assert send(app, PATH, ASKED | {"model": "nope"}).status == 404


@pytest.mark.parametrize("run_id", ["20261127T201500-00ff00", "nope", "..%2f..%2fsettings", "%00"])
def test_a_run_that_isn_t_there(app, run_id):
    for answer in (
        get(app, f"{PATH}/{run_id}"),
        send(app, f"{PATH}/{run_id}/cancel", {}),
        send(app, f"{PATH}/{run_id}", {}, method="DELETE"),
    ):
        assert (answer.status, answer.json["error"]["code"]) in [(404, "benchmark_not_found"), (404, "unknown_url")]


@pytest.mark.parametrize(("method", "path"), [("POST", ""), ("POST", "/x/cancel"), ("DELETE", "/x")])
def test_a_page_of_another_site_measures_and_deletes_nothing(app, method, path):
    answer = send(app, PATH + path, ASKED, headers={"sec-fetch-site": "cross-site"}, method=method)
    assert (answer.status, answer.json["error"]["code"]) == (403, "cross_site")


@pytest.mark.parametrize("path", ["", "/events", "/x"])
def test_nor_does_a_host_name_that_was_pointed_here(app, path):
    assert get(app, PATH + path, headers={"host": "evil.example"}).json["error"]["code"] == "foreign_host"


def test_without_anybody_who_measures_there_are_no_routes():
    assert get(create_app(FakeServices()), PATH).status == 404
