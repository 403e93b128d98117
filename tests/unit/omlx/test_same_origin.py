"""Pages of other sites change nothing here; programs and our own pages may."""

import pytest

from omlx.app import create_app
from tests.fakes.http import get, send
from tests.fakes.services import FakeServices

CHANGES = [
    ("POST", "/v1/models/tiny/load"),
    ("POST", "/v1/models/tiny/unload"),
    ("POST", "/admin/api/models/refresh"),
    ("PATCH", "/admin/api/models/tiny/settings"),
    ("PATCH", "/admin/api/settings"),
    ("DELETE", "/admin/api/models/tiny"),
]
FOREIGN = [
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site", "origin": "http://localhost:3000", "host": "localhost:8000"},
    {"origin": "http://evil.example", "host": "localhost:8000"},
    {"origin": "http://localhost:3000", "host": "localhost:8000"},
    {"origin": "null", "host": "localhost:8000"},
    {"origin": "http://["},
]
OWN = [
    {},
    {"host": "localhost:8000"},
    {"sec-fetch-site": "none"},
    {"origin": "http://LOCALHOST:8000", "host": "localhost:8000"},
    {"sec-fetch-site": "same-origin", "origin": "https://here.example", "host": "behind-a-proxy:8000"},
]


@pytest.mark.parametrize(("method", "path"), CHANGES)
@pytest.mark.parametrize("headers", FOREIGN)
def test_a_change_for_another_sites_page_is_refused(method, path, headers):
    services = FakeServices()
    answer = get(create_app(services), path, method, headers)
    assert answer.status == 403
    assert answer.json["error"]["code"] == "cross_site"
    assert services.catalog.calls == []


@pytest.mark.parametrize("headers", OWN)
def test_programs_and_own_pages_may_change_things(headers):
    assert get(create_app(FakeServices()), "/v1/models/tiny/load", "POST", headers).status == 200


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/status", "/admin/api/settings"])
def test_looking_changes_nothing(path):
    assert get(create_app(FakeServices()), path, headers=FOREIGN[0]).status == 200


def test_answers_are_for_every_page():
    hello = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}
    assert send(create_app(FakeServices()), "/v1/chat/completions", hello, FOREIGN[0]).status == 200
