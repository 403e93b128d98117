"""A model is removed over HTTP: refused while it is loaded, unless its engines are to end first."""

from dataclasses import replace

import pytest

from actors.folder_lock import FolderLock
from omlx.app import create_app
from tests.fakes.catalog import served
from tests.fakes.disk import write_llama
from tests.fakes.http import get, send
from tests.fakes.services import FakeServices

PATH = "/admin/api/models/org/name"


@pytest.fixture
def folder(tmp_path):
    return write_llama(tmp_path / "models" / "org" / "name")


@pytest.fixture
def services(folder):
    one = served("org/name", name="clever")
    return FakeServices(models=("tiny", replace(one, model=replace(one.model, path=folder))))


@pytest.fixture
def app(services, tmp_path):
    return create_app(services, roots=[tmp_path / "models"])


def remove(app, path=PATH):
    return get(app, path, "DELETE")


def changes(services):
    return [call for call in services.catalog.calls if call[0] != "find"]


@pytest.mark.parametrize("path", [PATH, "/admin/api/models/clever", f"{PATH}?force=true"])
def test_a_model_is_removed_by_either_name_and_the_disk_read_anew(app, services, folder, tmp_path, path):
    answer = remove(app, path)
    assert answer.status == 200
    assert answer.json == {"id": "org/name", "object": "model", "deleted": True}
    assert list((tmp_path / "models").iterdir()) == []
    assert changes(services)[-1] == ("refresh",)


@pytest.mark.parametrize("path", ["/admin/api/models/x", "/admin/api/models/org", "/admin/api/models/../org/name"])
def test_a_model_that_is_not_there(app, folder, path):
    answer = remove(app, path)
    assert (answer.status, answer.json["error"]["code"]) == (404, "model_not_found")
    assert folder.is_dir()


def test_no_name_is_no_model(app):
    assert remove(app, "/admin/api/models/").status == 404


def test_a_loaded_model_is_left_alone_unless_it_is_forced(app, services, folder):
    assert get(app, "/v1/models/org/name/load", "POST").status == 200
    answer = remove(app)
    assert answer.status == 409
    assert answer.json["error"]["code"] == "model_in_use"
    assert answer.json["error"]["message"].startswith("'org/name' is loaded. Unload it first")
    assert answer.headers["x-should-retry"] == "false"
    assert folder.is_dir()
    assert remove(app, f"{PATH}?force=true").status == 200
    assert changes(services) == [("load", "org/name"), ("unload", "org/name", True), ("refresh",)]
    assert not folder.exists()


def test_what_another_server_has_loaded_is_left_alone_unless_it_is_forced(app, folder):
    lock = FolderLock(folder)
    answer = remove(app)
    assert (answer.status, answer.json["error"]["code"]) == (409, "model_in_use")
    assert folder.is_dir()
    assert send(app, PATH, {"force": True}, method="DELETE").status == 200
    assert not folder.exists()
    lock.release()


def test_a_wish_that_is_none_changes_nothing(app, services, folder):
    answer = remove(app, f"{PATH}?force=perhaps")
    assert (answer.status, answer.json["error"]["param"]) == (400, "force")
    assert services.catalog.calls == []
    assert folder.is_dir()


def test_what_the_disk_is_against_is_said(services, folder, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "models" / "org")
    model = services.catalog.models["org/name"]
    services.catalog.models["org/name"] = replace(model, model=replace(model.model, path=tmp_path / "link" / "name"))
    answer = remove(create_app(services, roots=[tmp_path]))
    assert (answer.status, answer.json["error"]["code"]) == (500, "removal_failed")
    assert "beyond the link" in answer.json["error"]["message"]
    assert folder.is_dir()
