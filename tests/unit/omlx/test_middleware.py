"""Every request: its id, its size, its measures."""

import asyncio
import logging
import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from actors.models import ModelType
from omlx.api.middleware import RequestId, RequestRecords, UnforeseenErrors
from omlx.app import create_app
from tests.fakes.catalog import served
from tests.fakes.http import Call, get, send
from tests.fakes.services import FakeServices

CHAT = "/v1/chat/completions"
HELLO = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}


def scrape(app):
    answer = get(app, "/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    families = text_string_to_metric_families(answer.body.decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def of(samples, name, **labels):
    return samples.get((name, tuple(sorted(labels.items()))))


def test_every_answer_has_a_request_id():
    app = create_app(FakeServices())
    ids = {get(app, path).headers["x-request-id"] for path in ("/health", "/v1/models", "/nothing")}
    assert len(ids) == 3
    assert all(re.fullmatch(r"req_[0-9a-f]{32}", name) for name in ids)
    assert send(app, CHAT, HELLO | {"stream": True}).headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize(
    ("given", "kept"), [("abc-1.2_3", True), ("a" * 128, True), ("a" * 129, False), ("a b", False), ("", False), ('"', False)]
)
def test_a_sane_request_id_is_kept(given, kept):
    answer = get(create_app(FakeServices()), "/health", headers={"x-request-id": given})
    assert (answer.headers["x-request-id"] == given) == kept


def body_of(size):
    return b'{"model": "tiny", "prompt": "' + b"a" * (size - 31) + b'"}'


def call(app, chunks, headers=None):
    async def run():
        return await Call(app, "POST", "/v1/completions", chunks, headers).run()

    return asyncio.run(run())


def test_a_body_within_the_limit_is_taken():
    app = create_app(FakeServices(), max_body_bytes=100)
    assert len(body_of(100)) == 100
    assert call(app, (body_of(100),), {"content-length": "100"}).status == 200
    assert call(app, (body_of(100)[:50], body_of(100)[50:])).status == 200


@pytest.mark.parametrize(
    ("chunks", "headers"),
    [
        ((), {"content-length": "101"}),
        ((body_of(101),), None),
        ((body_of(101)[:60], body_of(101)[60:]), None),
        ((body_of(101),), {"content-length": "5"}),
        ((body_of(101),), {"content-length": "9" * 5000}),
    ],
)
def test_a_body_over_the_limit_is_not(chunks, headers):
    services = FakeServices()
    app = create_app(services, max_body_bytes=100)
    answer = call(app, chunks, headers)
    assert answer.status == 413
    assert answer.json["error"]["code"] == "request_too_large"
    assert answer.json["error"]["type"] == "invalid_request_error"
    assert "100 bytes" in answer.json["error"]["message"]
    assert services.jobs == []
    assert of(scrape(app), "omlx_http_requests_total", endpoint="/v1/completions", method="POST", status="413") == 1


def test_http_requests_are_counted_by_route():
    app = create_app(FakeServices(models=("tiny", "org/name")))
    for model in ("tiny", "org/name", "unknown"):
        get(app, f"/v1/models/{model}")
    get(app, "/v1/nothing")
    get(app, "/v1/nothing/else", method="BREW")
    get(app, CHAT)
    send(app, CHAT, {})
    send(app, CHAT, HELLO | {"stream": True})
    samples = scrape(app)
    counted = {labels: value for (name, labels), value in samples.items() if name == "omlx_http_requests_total"}
    assert {tuple(value for _, value in labels): count for labels, count in counted.items()} == {
        ("/v1/models/{model_id}", "GET", "200"): 2,
        ("/v1/models/{model_id}", "GET", "404"): 1,
        ("unmatched", "GET", "404"): 1,
        ("unmatched", "other", "404"): 1,
        (CHAT, "GET", "405"): 1,
        (CHAT, "POST", "400"): 1,
        (CHAT, "POST", "200"): 1,
    }
    assert of(samples, "omlx_http_requests_in_flight") == 1
    assert of(samples, "omlx_http_request_duration_seconds_count", endpoint=CHAT, method="POST") == 2


def test_two_apps_count_apart():
    first, second = create_app(FakeServices()), create_app(FakeServices())
    send(first, CHAT, HELLO)
    assert of(scrape(second), "omlx_generation_tokens_total", model_name="tiny") is None


def test_an_error_after_the_answer_began_breaks_the_connection(caplog):
    async def half(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise KeyError("secret")

    observer = Observer()
    with caplog.at_level(logging.ERROR), pytest.raises(KeyError):
        get(RequestId(RequestRecords(UnforeseenErrors(half), [observer])), "/", headers={"x-request-id": "abc"})
    assert (observer.record.status, observer.record.error) == (200, "internal_error")
    assert [(record.getMessage(), record.request_id) for record in caplog.records] == [("the request broke off", "abc")]


class Observer:
    """Keeps what it is told."""

    def __init__(self):
        self.told = []

    def began(self, record):
        self.told.append(("began", record.endpoint, record.status))

    def ended(self, record):
        self.told.append(("ended", record.endpoint, record.status))
        self.record = record


def observed(services, path, body=None, **headers):
    observer = Observer()
    app = create_app(services, observers=[observer])
    answer = send(app, path, body, headers) if body is not None else get(app, path, headers=headers)
    record = observer.record
    assert observer.told == [("began", "unmatched", 0), ("ended", record.endpoint, answer.status)]
    assert record.request_id == answer.headers["x-request-id"]
    assert record.ended >= record.received
    return record


TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize("stream", [False, True])
def test_observers_are_told_what_became_of_a_request(stream):
    record = observed(FakeServices(("a", "b")), CHAT, HELLO | {"stream": stream}, traceparent=TRACE)
    assert (record.for_model, record.is_generation, record.stream) == (True, True, stream)
    assert (record.model_id, record.traceparent) == ("tiny", TRACE)
    assert (record.prompt_tokens, record.completion_tokens, record.finish_reason, record.error) == (5, 3, "stop", "")
    assert record.usage.prompt_tokens == 5
    assert record.answer_id.startswith("chatcmpl-")
    assert record.received < record.first_token < record.last_token < record.ended
    assert record.seconds_per_output_token == (record.last_token - record.first_token) / 2


def test_observers_are_told_of_vectors_and_scores():
    models = (served("bge", ModelType.EMBEDDING), served("judge", ModelType.RERANKER))
    embedded = observed(FakeServices(models=models), "/v1/embeddings", {"model": "bge", "input": "Hello"})
    ranked = observed(FakeServices(models=models), "/v1/rerank", {"model": "judge", "query": "ab", "documents": ["a"]})
    for record, model, tokens in ((embedded, "bge", 5), (ranked, "judge", 3)):
        assert (record.for_model, record.is_generation, record.stream) == (True, False, False)
        assert (record.model_id, record.prompt_tokens, record.finish_reason, record.error) == (model, tokens, "stop", "")
        assert (record.completion_tokens, record.first_token, record.usage) == (0, None, None)
    assert embedded.answer_id == ""
    assert ranked.answer_id.startswith("rerank-")


def test_observers_are_told_of_what_is_refused_and_of_what_is_for_no_model():
    refused = observed(FakeServices(), CHAT, HELLO | {"model": "unknown"})
    assert (refused.for_model, refused.model_id, refused.error, refused.finish_reason) == (True, "", "model_not_found", "")
    assert (refused.seconds_to_first_token, refused.seconds_per_output_token) == (None, None)
    health = observed(FakeServices(), "/health")
    assert (health.for_model, health.endpoint, health.error) == (False, "/health", "")
    nowhere = observed(FakeServices(), "/nowhere")
    assert (nowhere.endpoint, nowhere.error) == ("unmatched", "unknown_url")
