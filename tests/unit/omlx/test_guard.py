"""Requests with and without a key, a session, a right: at the door of every route."""

import asyncio
import json
from types import SimpleNamespace

import pytest

from omlx.access.access import Access
from omlx.access.access_file import AccessFile
from omlx.access.keys import Limits
from omlx.access.usage import KeyUsage
from omlx.api import revocable
from omlx.api.guard import Need, need_of
from omlx.app import create_app
from tests.fakes.access import quick_hash
from tests.fakes.download_service import FakeDownloads
from tests.fakes.http import Call, events, get, post, send
from tests.fakes.services import HANG, FakeServices

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}
OPEN = ["/", "/admin", "/admin/static/app.js", "/admin/api/session", "/health", "/openapi.json"]
HASH = quick_hash("correct horse")


class World:
    """An application with its rules."""

    def __init__(self, folder, services=None, **rules):
        self.services = services or FakeServices()
        self.file = AccessFile(folder)
        self.access = Access(self.file, **rules)
        self.usage = KeyUsage(folder)
        self.app = create_app(self.services, downloads=FakeDownloads(), access=self.access, usage=self.usage, roots=[folder])

    def key(self, name="laptop", **more):
        return self.file.add_key(name, **more)

    def sign_in(self, secret="", headers=None):
        return send(self.app, "/admin/api/session", {"secret": secret}, headers=headers)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def bearer(secret):
    return {"authorization": f"Bearer {secret}"}


def code(call):
    return (call.status, call.json["error"]["code"])


def cookie(call):
    return {"cookie": call.headers["set-cookie"].partition(";")[0]}


def test_without_keys_everything_is_as_it_was(world):
    assert send(world.app, "/v1/chat/completions", CHAT, headers=bearer("none")).status == 200
    assert get(world.app, "/admin/api/models").status == 200
    assert get(world.app, "/metrics").status == 200


def test_each_route_is_closed_but_those_that_are_meant_to_be_open(tmp_path):
    world = World(tmp_path, is_exposed=True)
    paths = world.app.openapi()["paths"]
    assert len(paths) > 30
    for path, methods in paths.items():
        for method in methods:
            asked = path.replace("{model_id}", "tiny").replace("{key_id}", "key_1").replace("{task_id}", "a")
            need = need_of(method.upper(), asked)
            answer = send(world.app, asked, {}, method=method.upper()) if method != "get" else None
            if path in OPEN:
                assert need is Need.NOTHING
                continue
            answer = answer or get(world.app, asked)
            if path.startswith("/v1/messages"):  # whose errors have Anthropic's form
                assert (answer.status, answer.json["error"]["type"], need) == (401, "authentication_error", Need.KEY)
                continue
            assert code(answer) == (401, "not_signed_in" if need is Need.ADMIN else "invalid_api_key"), asked
            assert (need is Need.ADMIN) == (path.startswith("/admin") or path.endswith("load")), asked
    for path in OPEN:
        assert get(world.app, path).status < 400
    for path in ["/nothing", "/v1", "//v1/models", "/v1/models/", "/docs", "/admin/static", "/admin/", "/metrics/"]:
        assert get(world.app, path).status == 401, path
    assert world.services.jobs == []


def test_whether_it_lives_everybody_is_told_and_what_runs_those_with_a_key(world):
    assert "engines" in get(world.app, "/health").json
    _, secret = world.key()
    assert set(get(world.app, "/health").json) == {"status", "version"}
    assert "engines" in get(world.app, "/health", headers=bearer(secret)).json


@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
def test_a_key_comes_as_openai_s_clients_or_as_anthropic_s_send_it(world, header):
    _, secret = world.key()
    value = f"bearer  {secret} " if header == "authorization" else secret
    assert send(world.app, "/v1/chat/completions", CHAT, headers={header: value}).status == 200
    assert get(world.app, "/v1/models", headers={header: value}).status == 200
    refused = send(world.app, "/v1/chat/completions", CHAT, headers={header: value + "x"})
    assert code(refused) == (401, "invalid_api_key")
    assert refused.headers["www-authenticate"] == "Bearer"
    assert secret not in refused.body.decode()
    assert "asks for an API key" in get(world.app, "/v1/models").json["error"]["message"]
    assert len(world.services.jobs) == 1
    assert get(world.app, "/v1/models", headers={"authorization": "Basic dXNlcg=="}).status == 401


def test_a_revoked_key_gets_nowhere(world):
    key, secret = world.key(is_admin=True)
    signed_in = cookie(world.sign_in(secret))
    for headers in (bearer(secret), signed_in):
        assert send(world.app, "/v1/chat/completions", CHAT, headers=headers).status == 200
        assert get(world.app, "/admin/api/models", headers=headers).status == 200
    AccessFile(world.file.path.parent).revoke_key(key.key_id)  # by a command
    for headers in (bearer(secret), signed_in, {}):
        assert code(send(world.app, "/v1/chat/completions", CHAT, headers=headers)) == (401, "invalid_api_key")
        assert get(world.app, "/admin/api/models", headers=headers).status == 401
        assert get(world.app, "/metrics", headers=headers).status == 401
    assert code(world.sign_in(secret)) == (401, "wrong_secret")


def test_what_is_being_answered_to_a_key_ends_with_it(tmp_path, monkeypatch):
    monkeypatch.setattr(revocable, "SECONDS", 0.01)
    world = World(tmp_path, FakeServices(("Hel", HANG)))
    key, secret = world.key()

    async def test():
        stream = post(world.app, "/v1/chat/completions", {**CHAT, "stream": True}, bearer(secret))
        whole = post(world.app, "/v1/chat/completions", CHAT, bearer(secret))
        running = [asyncio.create_task(call.run()) for call in (stream, whole)]
        await stream.wait_for(b"Hel")
        world.file.revoke_key(key.key_id)
        await asyncio.wait_for(asyncio.gather(*running), 10)
        return stream, whole

    stream, whole = asyncio.run(test())
    assert events(stream.body)[-1]["choices"][0]["delta"] == {"content": "Hel"}
    assert stream.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}  # the connection isn't broken
    assert whole.status == 499
    assert [answer.closed for answer in world.services.answers] == [1, 1]


def test_what_is_watched_ends_with_signing_out(tmp_path, monkeypatch):
    monkeypatch.setattr(revocable, "SECONDS", 0.01)
    world = World(tmp_path, option_key="sesame-sesame")
    signed_in = cookie(world.sign_in("sesame-sesame"))

    async def test():
        live = Call(world.app, "GET", "/admin/api/live", headers=signed_in)
        running = asyncio.create_task(live.run())
        await live.wait_for(b"catalog")
        assert (await Call(world.app, "DELETE", "/admin/api/session", headers=signed_in).run()).status == 200
        await asyncio.wait_for(running, 10)
        return live

    assert asyncio.run(test()).sent[-1]["more_body"] is False
    assert code(get(world.app, "/admin/api/models", headers=signed_in)) == (401, "not_signed_in")


def test_a_user_s_key_doesn_t_administer(tmp_path):
    world = World(tmp_path, option_key="sesame-sesame")
    _, secret = world.key()
    for method, path in [
        ("GET", "/admin/api/models"),
        ("GET", "/admin/api/keys"),
        ("POST", "/v1/models/tiny/load"),
        ("POST", "/v1/models/a/b/unload"),
        ("PUT", "/admin/api/password"),
    ]:
        answer = get(world.app, path, method=method, headers=bearer(secret))
        assert code(answer) == (403, "permission_denied"), path
        assert "laptop" in answer.json["error"]["message"]
    assert send(world.app, "/v1/models/tiny/load", {}, headers=bearer("sesame-sesame")).status == 200


def test_the_cookie_can_t_be_read_by_scripts_nor_sent_by_other_sites(world):
    world.file.set_password(HASH)
    assert code(world.sign_in("wrong")) == (401, "wrong_secret")
    answer = world.sign_in("correct horse")
    assert answer.json["is_signed_in"] is True
    name, *marks = answer.headers["set-cookie"].split("; ")
    assert name.startswith("omlx_session_80=")
    assert {mark.lower() for mark in marks} == {"httponly", "samesite=strict", "path=/", "max-age=604800"}
    assert get(world.app, "/admin/api/session", headers=cookie(answer)).json["is_signed_in"] is True
    gone = get(world.app, "/admin/api/session", method="DELETE", headers=cookie(answer))
    assert (gone.json["is_signed_in"], 'omlx_session_80=""' in gone.headers["set-cookie"]) == (False, True)


@pytest.mark.parametrize(
    "site",
    [
        {"sec-fetch-site": "cross-site", "origin": "https://evil.example"},
        {"sec-fetch-site": "same-site", "origin": "http://127.0.0.1:3000"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
    ],
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings", "/v1/models/tiny/load", "/admin/api/models/refresh"])
def test_another_site_s_form_gets_nowhere_with_the_visitor_s_session(world, site, path):
    world.file.set_password(HASH)
    signed_in = cookie(world.sign_in("correct horse"))
    own = {"host": "127.0.0.1:80"}
    assert code(send(world.app, path, CHAT, headers={**own, **signed_in, **site})) == (403, "cross_site")
    assert world.services.jobs == []
    assert code(send(world.app, "/admin/api/session", {"secret": "correct horse"}, headers={**own, **site})) == (
        403,
        "cross_site",
    )
    fine = {**own, **signed_in, "sec-fetch-site": "same-origin", "origin": "http://127.0.0.1:80"}
    assert send(world.app, "/v1/chat/completions", CHAT, headers=fine).status == 200


def test_a_rebound_host_can_t_even_try_a_password(world):
    world.file.set_password(HASH)
    rebound = {"host": "evil.example", "origin": "http://evil.example", "sec-fetch-site": "same-origin"}
    assert code(world.sign_in("correct horse", rebound)) == (403, "foreign_host")
    assert code(get(world.app, "/admin/api/session", headers=rebound)) == (403, "foreign_host")


def test_too_many_attempts_are_told_when_to_come_back(world):
    world.file.set_password(HASH)
    for _ in range(5):
        assert world.sign_in("wrong").status == 401
    refused = world.sign_in("correct horse")
    assert code(refused) == (429, "too_many_attempts")
    assert 0 < int(refused.headers["retry-after"]) <= 900


def test_what_a_page_is_told_before_signing_in(tmp_path):
    world = World(tmp_path, option_key="sesame-sesame", is_exposed=True)
    told = get(world.app, "/admin/api/session").json
    assert told == {
        "is_signed_in": False,
        "needs_sign_in": True,
        "needs_key": True,
        "has_password": False,
        "is_exposed": True,
    }


def test_a_request_from_elsewhere_is_no_request_of_this_machine(world):
    call = Call(world.app, "GET", "/admin/api/models")
    call._scope["client"] = ("192.0.2.7", 5)
    assert code(asyncio.run(call.run())) == (401, "not_signed_in")
    call = Call(world.app, "GET", "/admin/api/models")
    call._scope["client"] = None
    assert asyncio.run(call.run()).status == 401


def test_the_password_is_changed_by_who_knows_it(world):
    assert code(send(world.app, "/admin/api/password", {"password": "short"}, method="PUT")) == (400, "invalid_password")
    assert send(world.app, "/admin/api/password", {"password": "correct horse"}, method="PUT").json["has_password"] is True
    assert code(send(world.app, "/admin/api/password", {"password": None}, method="PUT")) == (401, "not_signed_in")
    signed_in = cookie(world.sign_in("correct horse"))

    def change(password, current):
        body = {"password": password, "current": current}
        return send(world.app, "/admin/api/password", body, method="PUT", headers=signed_in)

    assert code(change("another horse", "wrong")) == (401, "wrong_secret")
    others = cookie(world.sign_in("correct horse"))
    assert change("another horse", "correct horse").json["is_signed_in"] is True
    assert get(world.app, "/admin/api/session", headers=others).json["is_signed_in"] is False
    assert code(world.sign_in("correct horse")) == (401, "wrong_secret")
    assert change(None, "another horse").json == {
        "is_signed_in": True,
        "needs_sign_in": False,
        "needs_key": False,
        "has_password": False,
        "is_exposed": False,
    }
    assert world.file.kept().password is None


def test_keys_are_made_limited_revoked_and_forgotten_over_http(world):
    made = send(world.app, "/admin/api/keys", {"name": "laptop", "limits": {"requests_per_minute": 2}})
    assert made.status == 200
    key, secret = made.json["key"], made.json["secret"]
    assert (key["name"], key["is_admin"], key["from_option"], key["revoked"]) == ("laptop", False, False, None)
    assert key["limits"] == {"requests_per_minute": 2, "concurrent_requests": None, "tokens_per_day": None}
    path = f"/admin/api/keys/{key['id']}"
    for _ in range(2):
        assert send(world.app, "/v1/chat/completions", CHAT, headers=bearer(secret)).status == 200
    refused = send(world.app, "/v1/chat/completions", CHAT, headers=bearer(secret))
    assert code(refused) == (429, "rate_limit_exceeded")
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert get(world.app, "/v1/models", headers=bearer(secret)).status == 200  # costs nothing
    (listed,) = get(world.app, "/admin/api/keys").json["keys"]
    used = listed["used"]
    assert (used["requests"], used["prompt_tokens"], used["completion_tokens"], used["tokens_today"]) == (2, 10, 6, 16)
    assert secret not in json.dumps(listed)
    limited = send(world.app, f"{path}/limits", {"tokens_per_day": 1}, method="PUT")
    assert limited.json["limits"] == {"requests_per_minute": None, "concurrent_requests": None, "tokens_per_day": 1}
    assert "a day" in send(world.app, "/v1/chat/completions", CHAT, headers=bearer(secret)).json["error"]["message"]
    assert code(get(world.app, path, method="DELETE")) == (400, "invalid_key")
    assert send(world.app, f"{path}/revoke", {}).json["revoked"]
    assert get(world.app, path, method="DELETE").json == {"id": key["id"], "deleted": True}
    assert get(world.app, "/admin/api/keys").json == {"keys": []}
    assert code(get(world.app, path, method="DELETE")) == (404, "key_not_found")


def test_who_makes_the_first_administrator_s_key_in_a_browser_stays_in(world):
    signed_in = cookie(world.sign_in())
    assert send(world.app, "/admin/api/keys", {"name": "me", "is_admin": True}, headers=signed_in).status == 200
    assert get(world.app, "/admin/api/keys", headers=signed_in).status == 200
    assert get(world.app, "/admin/api/keys").status == 401


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"name": ""}, 400),
        ({"name": "a", "limits": {"tokens_per_day": 0}}, 400),
        ({"name": "a", "limits": {"tokens_per_day": "many"}}, 400),
        ({"name": "a", "limits": {"other": 1}}, 400),
    ],
)
def test_a_key_that_can_t_be_is_refused(world, body, status):
    assert send(world.app, "/admin/api/keys", body).status == status
    assert world.file.kept().keys == {}


def test_the_key_of_the_command_line_is_shown_and_ends_with_the_server_alone(tmp_path):
    world = World(tmp_path, option_key="sesame-sesame")
    headers = bearer("sesame-sesame")
    (key,) = get(world.app, "/admin/api/keys", headers=headers).json["keys"]
    assert (key["name"], key["from_option"], key["is_admin"], key["created"]) == ("--api-key", True, True, None)
    assert code(send(world.app, f"/admin/api/keys/{key['id']}/revoke", {}, headers=headers)) == (404, "key_not_found")
    send(world.app, "/v1/chat/completions", CHAT, headers=headers)
    assert get(world.app, "/admin/api/keys", headers=headers).json["keys"][0]["used"]["requests"] == 1


def test_what_breaks_off_is_counted_too(tmp_path):
    world = World(tmp_path, FakeServices(("Hel", RuntimeError("boom"))))
    key, secret = world.key(limits=Limits(concurrent_requests=1))
    assert send(world.app, "/v1/chat/completions", CHAT, headers=bearer(secret)).status == 500
    used = world.usage.of(key.key_id)
    assert (used.requests, used.prompt_tokens, used.completion_tokens) == (1, 5, 1)
    assert send(world.app, "/v1/chat/completions", CHAT, headers=bearer(secret)).status == 500  # not 429: the first is over


def test_users_of_different_keys_share_an_engine_fairly_whatever_they_call_themselves(world):
    clients = []
    for name in ("a", "b"):
        key, secret = world.key(name)
        send(world.app, "/v1/chat/completions", {**CHAT, "user": "me"}, headers=bearer(secret))
        clients.append(world.services.jobs[-1].client)
        assert clients[-1] == f"{key.key_id} me"
    assert len(set(clients)) == 2


def test_the_log_says_whose_request_it_was(world):
    from omlx.request_log import request_fields

    records = []
    watcher = SimpleNamespace(began=lambda record: None, ended=records.append)
    app = create_app(world.services, access=world.access, usage=world.usage, observers=[watcher])
    _, secret = world.key()
    send(app, "/v1/chat/completions", CHAT, headers=bearer(secret))
    send(app, "/v1/chat/completions", CHAT)
    assert [request_fields(record).get("key") for record in records] == ["laptop", None]
    assert [request_fields(record)["status"] for record in records] == [200, 401]
