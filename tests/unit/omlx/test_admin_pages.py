"""The administration's page: its files, what a browser is told of them, and whom it is for."""

import json
import re

import pytest

from omlx.admin.pages import FILES, POLICY
from omlx.app import create_app
from tests.fakes.download_service import FakeDownloads
from tests.fakes.http import get, send
from tests.fakes.services import FakeServices

SCRIPTS = sorted(file for file in FILES.rglob("*.js") if "vendor" not in file.parts)
WORDS = {file.stem: json.loads(file.read_text("utf-8")) for file in (FILES / "i18n").glob("*.json")}
SHOWN = [file for file in FILES.rglob("*") if file.suffix in (".html", ".js", ".css", ".svg", ".json")]
LATER = FILES / "vendor/highlight"  # fetched when code is shown


@pytest.fixture(scope="module")
def app():
    return create_app(FakeServices(), downloads=FakeDownloads(), admin_hosts=["models.example"])


def test_the_page_and_each_of_its_files_is_served_with_its_type_and_policy(app):
    for method in ("GET", "HEAD"):
        start = get(app, "/", method)
        assert (start.status, start.headers["location"]) == (307, "/admin")
    page = get(app, "/admin")
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    for file in [*SCRIPTS, FILES / "style.css", FILES / "icon.svg", FILES / "i18n/en.json", FILES / "vendor/htm-preact.js"]:
        answer = get(app, f"/admin/static/{file.relative_to(FILES).as_posix()}")
        assert (answer.status, answer.body) == (200, file.read_bytes())
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert "unsafe" not in POLICY
    assert "http" not in POLICY


def test_what_is_linked_is_there_and_nothing_is_from_elsewhere_or_inline(app):
    html = get(app, "/admin").body.decode()
    links = re.findall(r'(?:src|href)="([^"]+)"', html)
    assert len(links) == 3
    for link in links:
        assert get(app, link).status == 200
    assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=", html)
    for script in SCRIPTS:
        for module in re.findall(r'from "([^"]+)"', script.read_text()):
            assert (script.parent / module).resolve().is_file(), f"{script.name} imports {module}"


def test_a_first_visit_is_small():
    assert sum(file.stat().st_size for file in SHOWN if LATER not in file.parents) < 300_000


def test_each_language_that_code_is_coloured_in_is_there_and_no_other():
    listed = re.search(r"LANGUAGES = \[(.*?)\]", (FILES / "highlight.js").read_text(), re.DOTALL)[1]
    assert {*re.findall(r'"([a-z]+)"', listed), "core"} == {file.stem for file in LATER.glob("*.js")}
    aliases = re.search(r"ALIASES = \{(.*?)\}", (FILES / "highlight.js").read_text(), re.DOTALL)[1]
    assert set(re.findall(r': "([a-z]+)"', aliases)) <= set(re.findall(r'"([a-z]+)"', listed))


@pytest.mark.parametrize("path", ["nothing.js", "../pages.py", "%2e%2e/pages.py", "vendor/LICENSE.htm", "pages", ""])
def test_a_path_leads_to_no_other_file(app, path):
    assert get(app, f"/admin/static/{path}").status == 404


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "1.2.3.4.5"]
)
@pytest.mark.parametrize(
    "path", ["/admin", "/admin/static/app.js", "/admin/api/models", "/admin/api/live", "/admin/api/hf/tasks"]
)
def test_a_host_name_that_was_pointed_here_gets_nothing(app, path, host):
    answer = get(app, path, headers={"host": host})
    assert (answer.status, answer.json["error"]["code"]) == (403, "foreign_host")


def test_nor_may_its_page_change_anything(app):
    rebound = {"host": "evil.example", "origin": "http://evil.example", "sec-fetch-site": "same-origin"}
    for method, path in [
        ("POST", "/admin/api/models/refresh"),
        ("PATCH", "/admin/api/settings"),
        ("POST", "/admin/api/hf/download"),
    ]:
        assert send(app, path, {"model": "a/b", "revision": "x"}, headers=rebound, method=method).status == 403


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8000",
        "localhost",
        "LOCALHOST:8000",
        "omlx.localhost",
        "192.168.1.7",
        "[::1]:8000",
        "models.example",
        "Models.Example:80",
    ],
)
def test_addresses_this_machine_s_names_and_those_that_were_named_are_good(app, host):
    assert get(app, "/admin", headers={"host": host}).status == 200


def test_programs_that_are_no_browsers_and_watchers_go_by_any_name(app):
    for path in ("/v1/models", "/health", "/metrics"):
        assert get(app, path, headers={"host": "host.docker.internal:8000"}).status == 200


def test_every_language_has_every_word():
    assert {"en", "zh"} == set(WORDS)
    assert set(WORDS["en"]) == set(WORDS["zh"])
    for words in WORDS.values():
        assert all(words.values())
    for key, text in WORDS["en"].items():
        assert set(re.findall(r"\{(\w+)\}", text)) == set(re.findall(r"\{(\w+)\}", WORDS["zh"][key])), key


def test_every_word_that_is_shown_is_in_the_catalogue_and_no_other():
    source = "".join(script.read_text() for script in SCRIPTS)
    # By name, by the beginning of the name, or as one of two.
    named = set(re.findall(r'\bt\("([a-z._]+)"', source))
    begun = tuple(re.findall(r"\bt\(`([a-z._]+)\$", source))
    assert {"page.", "state.", "type.", "task.state.", "effect."} <= set(begun)
    used = set(re.findall(r'"([a-z._]+)"', source))
    assert len(named) > 30
    assert named <= set(WORDS["en"])
    assert [key for key in WORDS["en"] if key not in used and not key.startswith(begun)] == []
