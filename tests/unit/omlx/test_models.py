"""Models: listed as clients name them, shown with what became of them, loaded and unloaded by hand."""

from pathlib import Path

import pytest

from actors.control import EngineStatus
from actors.errors import InsufficientMemoryError
from actors.models import ModelType, Skipped
from omlx.app import create_app
from tests.fakes.catalog import served
from tests.fakes.http import get, send
from tests.fakes.services import FakeServices

TINY = {
    "id": "tiny",
    "object": "model",
    "created": 1_700_000_000,
    "owned_by": "omlx",
    "type": "llm",
    "capabilities": ["chat", "completions"],
}
MODELS = ("tiny", served("org/name", ModelType.VLM, name="clever"), served("secret", is_hidden=True))


def test_models_are_listed_by_the_names_to_ask_for_them():
    answer = get(create_app(FakeServices(models=MODELS)), "/v1/models").json
    assert answer == {
        "object": "list",
        "data": [TINY, TINY | {"id": "clever", "type": "vlm", "capabilities": ["chat", "completions", "vision"]}],
    }
    assert list(answer["data"][0])[:4] == ["id", "object", "created", "owned_by"]


@pytest.mark.parametrize(
    ("asked", "shown"), [("tiny", "tiny"), ("org/name", "clever"), ("clever", "clever"), ("secret", "secret")]
)
def test_one_model_by_id_or_alias_hidden_or_not(asked, shown):
    assert get(create_app(FakeServices(models=MODELS)), f"/v1/models/{asked}").json["id"] == shown


def test_no_model_of_a_name_or_without_one():
    app = create_app(FakeServices(models=(served("tiny", is_default=True),)))
    missing = get(app, "/v1/models/other")
    assert missing.status == 404
    assert missing.json["error"]["code"] == "model_not_found"
    assert get(app, "/v1/models/").json["error"]["code"] == "unknown_url"  # a default model is for requests
    assert get(app, "/v1/models//load", "POST").json["error"]["code"] == "unknown_url"


def test_the_status_of_everything():
    services = FakeServices(models=MODELS)
    services.catalog.skipped = (Skipped(Path("/models/old"), "GGUF is not supported."),)
    app = create_app(services)
    get(app, "/v1/models/tiny/load", "POST")
    shown = get(app, "/v1/models/status").json
    assert shown["skipped"] == [{"path": "/models/old", "reason": "GGUF is not supported."}]
    assert shown["memory"] == {"budget_bytes": 4000, "reserved_bytes": 1100, "used_bytes": 1000}
    tiny, clever, secret = shown["models"]
    assert tiny == {
        "id": "tiny",
        "alias": None,
        "type": "llm",
        "architecture": "llama",
        "path": "/models/tiny",
        "revision": "r1",
        "quantization": None,
        "context_length": 128,
        "size_bytes": 1000,
        "estimated_bytes": 1100,
        "memory_bytes": 1000,
        "loaded": True,
        "state": "ready",
        "reason": None,
        "is_pinned": False,
        "is_default": False,
        "is_hidden": False,
        "ttl_seconds": None,
        "idle_seconds": 2.0,
        "engines": [
            {
                "engine_id": "tiny-1",
                "state": "ready",
                "restarts": 0,
                "pid": 4711,
                "device": "cpu",
                "reason": None,
                "ready_seconds": 7.0,
                "max_concurrent_requests": 8,
            },
        ],
    }
    assert (clever["id"], clever["alias"], clever["loaded"], clever["engines"]) == ("org/name", "clever", False, [])
    assert secret["is_hidden"]


def test_an_engine_that_never_came_up_says_why():
    services = FakeServices()
    services.catalog.loaded["tiny"] = EngineStatus("tiny", "tiny-1", "failed", 3, "no memory")
    (tiny,) = get(create_app(services), "/v1/models/status").json["models"]
    (engine,) = tiny["engines"]
    assert (engine["state"], engine["restarts"], engine["reason"]) == ("failed", 3, "no memory")
    assert [name for name, value in engine.items() if value is None] == [
        "pid",
        "device",
        "ready_seconds",
        "max_concurrent_requests",
    ]


@pytest.mark.parametrize("name", ["org/name", "clever"])
def test_a_model_is_loaded_and_unloaded_by_hand(name):
    services = FakeServices(models=MODELS)
    app = create_app(services)
    loaded = get(app, f"/v1/models/{name}/load", "POST")
    assert (loaded.status, loaded.json["id"], loaded.json["loaded"]) == (200, "org/name", True)
    unloaded = get(app, f"/v1/models/{name}/unload", "POST")
    assert (unloaded.status, unloaded.json["id"], unloaded.json["loaded"]) == (200, "org/name", False)
    assert [call for call in services.catalog.calls if call[0] != "find"] == [
        ("load", "org/name"),
        ("unload", "org/name", False),
    ]


@pytest.mark.parametrize(("body", "cancel"), [({}, False), ({"cancel": False}, False), ({"cancel": True}, True)])
def test_unloading_waits_for_requests_or_ends_them_as_the_body_says(body, cancel):
    services = FakeServices()
    assert send(create_app(services), "/v1/models/tiny/unload", body).status == 200
    assert ("unload", "tiny", cancel) in services.catalog.calls


@pytest.mark.parametrize(("query", "cancel"), [("cancel=true", True), ("cancel=0", False)])
def test_unloading_may_be_told_in_the_query(query, cancel):
    services = FakeServices()
    assert get(create_app(services), f"/v1/models/tiny/unload?{query}", "POST").status == 200
    assert ("unload", "tiny", cancel) in services.catalog.calls


@pytest.mark.parametrize(("path", "body"), [("?cancel=maybe", {}), ("", {"cancel": []}), ("", [1])])
def test_unloading_names_what_it_does_not_understand(path, body):
    services = FakeServices()
    answer = send(create_app(services), f"/v1/models/tiny/unload{path}", body)
    assert answer.status == 400
    assert answer.json["error"]["param"] == (None if body == [1] else "cancel")
    assert services.catalog.calls == []


@pytest.mark.parametrize("what", ["load", "unload"])
def test_only_what_is_there_is_loaded_and_unloaded(what):
    answer = get(create_app(FakeServices()), f"/v1/models/other/{what}", "POST")
    assert answer.status == 404
    assert answer.json["error"]["code"] == "model_not_found"


def test_a_load_that_does_not_fit_says_what_would():
    services = FakeServices()
    services.catalog.refusal = InsufficientMemoryError("tiny", 5_000_000_000, 3_000_000_000, 9_000_000_000, ["big"])
    answer = get(create_app(services), "/v1/models/tiny/load", "POST")
    assert answer.status == 507
    assert "big" in answer.json["error"]["message"]
