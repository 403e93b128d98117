"""Settings over HTTP: flat objects, changed at the revision that was read."""

import pytest

from actors.settings import GLOBAL_SETTINGS, MODEL_SETTINGS
from omlx.app import create_app
from tests.fakes.catalog import served
from tests.fakes.http import get, send
from tests.fakes.services import FakeServices

ONE = "/admin/api/models/org/name/settings"
ALL = "/admin/api/settings"
TABLES = [(ONE, MODEL_SETTINGS), (ALL, GLOBAL_SETTINGS)]


def application():
    return create_app(FakeServices(models=("tiny", served("org/name", name="clever"))))


def patch(app, path, change):
    return send(app, path, change, method="PATCH")


@pytest.mark.parametrize(("path", "table"), TABLES)
def test_every_setting_is_shown_and_null_where_nothing_is_set(path, table):
    app = application()
    read = get(app, path).json
    assert read == {"revision": read["revision"], **dict.fromkeys(table)}


@pytest.mark.parametrize("path", [ONE, ALL])
def test_a_change_is_what_it_names_at_the_revision_that_was_read(path):
    app = application()
    before = get(app, path).json
    changed = patch(app, path, {"revision": before["revision"], "temperature": 0.5, "seed": 7})
    assert changed.status == 200
    assert changed.json == {**before, "temperature": 0.5, "seed": 7, "revision": changed.json["revision"]}
    assert changed.json["revision"] != before["revision"]
    assert get(app, path).json == changed.json
    reset = patch(app, path, {"revision": changed.json["revision"], "temperature": None}).json
    assert (reset["temperature"], reset["seed"]) == (None, 7)


def test_a_models_settings_are_its_own_by_either_name():
    app = application()
    revision = get(app, "/admin/api/models/clever/settings").json["revision"]
    patch(app, "/admin/api/models/clever/settings", {"revision": revision, "is_pinned": True})
    assert get(app, ONE).json["is_pinned"] is True
    assert get(app, "/admin/api/models/tiny/settings").json["is_pinned"] is None


@pytest.mark.parametrize("path", [ONE, ALL])
def test_a_change_at_an_old_revision_is_refused(path):
    app = application()
    revision = get(app, path).json["revision"]
    assert patch(app, path, {"revision": revision, "seed": 1}).status == 200
    late = patch(app, path, {"revision": revision, "seed": 2})
    assert late.status == 409
    assert late.json["error"]["code"] == "stale_revision"
    assert get(app, path).json["seed"] == 1


@pytest.mark.parametrize("path", [ONE, ALL])
def test_a_setting_that_is_none_is_refused_by_name(path):
    app = application()
    revision = get(app, path).json["revision"]
    answer = patch(app, path, {"revision": revision, "warmth": 1})
    assert answer.status == 400
    assert (answer.json["error"]["code"], answer.json["error"]["param"]) == ("invalid_setting", "warmth")


@pytest.mark.parametrize("path", [ONE, ALL])
@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"seed": 1}, "revision", "missing_required_parameter"),
        ({"seed": 1, "revision": None}, "revision", "invalid_type"),
        ({"seed": 1, "revision": 5}, "revision", "invalid_type"),
        ([1], None, "invalid_type"),
        (b"{", None, "invalid_json"),
    ],
)
def test_a_change_without_a_revision_is_none(path, body, param, code):
    answer = patch(application(), path, body)
    assert answer.status == 400
    assert (answer.json["error"]["param"], answer.json["error"]["code"]) == (param, code)


def test_settings_of_a_model_that_is_not_there():
    app = application()
    for answer in (get(app, "/admin/api/models/x/settings"), patch(app, "/admin/api/models/x/settings", {"revision": "1"})):
        assert answer.status == 404
        assert answer.json["error"]["code"] == "model_not_found"


def test_models_are_shown_and_read_anew():
    services = FakeServices()
    app = create_app(services)
    assert get(app, "/admin/api/models").json == get(app, "/v1/models/status").json
    assert services.catalog.calls == []
    assert get(app, "/admin/api/models/refresh", "POST").json == get(app, "/v1/models/status").json
    assert services.catalog.calls == [("refresh",)]


def test_the_tables_say_what_each_setting_is():
    tables = get(application(), "/admin/api/settings/schema").json
    assert [each["name"] for each in tables["model"]] == list(MODEL_SETTINGS)
    assert [each["name"] for each in tables["global"]] == list(GLOBAL_SETTINGS)
    level = next(each for each in tables["global"] if each["name"] == "log_level")
    assert level == {
        "name": "log_level",
        "form": "choice",
        "help": "The least severe lines to log.",
        "effect": "restart",
        "default": "info",
        "least": None,
        "most": None,
        "above": None,
        "takes": "one of debug, info, warning, error",
        "choices": ["debug", "info", "warning", "error"],
    }
