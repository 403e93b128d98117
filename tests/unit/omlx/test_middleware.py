"""Every request: its id, its size, its measures."""

import asyncio
import logging
import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from actors.contracts import Delta
from actors.errors import EngineError
from omlx import __version__
from omlx.api.middleware import RequestId, UnforeseenErrors
from omlx.app import create_app
from omlx.metrics import spec
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


def test_generation_is_measured_by_model():
    app = create_app(FakeServices(("a", "b")))
    send(app, CHAT, HELLO)
    send(app, CHAT, HELLO | {"stream": True})
    send(app, CHAT, HELLO | {"model": "unknown"})
    samples = scrape(app)
    assert of(samples, "omlx_request_success_total", model_name="tiny", finished_reason="stop") == 2
    assert of(samples, "omlx_prompt_tokens_total", model_name="tiny") == 10
    assert of(samples, "omlx_generation_tokens_total", model_name="tiny") == 6
    assert of(samples, "omlx_time_to_first_token_seconds_count", model_name="tiny") == 2
    assert of(samples, "omlx_e2e_request_latency_seconds_count", model_name="tiny") == 2
    assert of(samples, "omlx_num_requests_running", model_name="tiny") == 2
    assert of(samples, "omlx_num_requests_waiting", model_name="tiny") == 3
    assert of(samples, "omlx_build_info", version=__version__) == 1
    assert not any("unknown" in value for _, labels in samples for _, value in labels)


def test_a_request_with_several_choices_is_measured_as_one():
    app = create_app(FakeServices(("a", Delta("", "b", 1, "length", index=1), "c")))
    send(app, CHAT, HELLO | {"n": 2})
    samples = scrape(app)
    assert of(samples, "omlx_request_success_total", model_name="tiny", finished_reason="stop") == 1
    assert not any(("finished_reason", "length") in labels for _, labels in samples)
    assert of(samples, "omlx_prompt_tokens_total", model_name="tiny") == 5
    assert of(samples, "omlx_generation_tokens_total", model_name="tiny") == 5
    assert of(samples, "omlx_e2e_request_latency_seconds_count", model_name="tiny") == 1


def test_a_request_that_fails_is_no_success():
    app = create_app(FakeServices(("a", EngineError("tiny", "killed"))))
    send(app, CHAT, HELLO)
    samples = scrape(app)
    assert of(samples, "omlx_generation_tokens_total", model_name="tiny") == 1
    assert not any(name == "omlx_request_success_total" for name, _ in samples)


def test_what_is_scraped_is_what_the_table_says():
    app = create_app(FakeServices())
    send(app, CHAT, HELLO)
    families = {f.name: f for f in text_string_to_metric_families(get(app, "/metrics").body.decode())}
    for metric in spec.METRICS:
        family = families[metric.name.removesuffix("_total")]
        assert family.type == metric.kind.value
        assert family.documentation == metric.help
        labels = {name for sample in family.samples for name in sample.labels} - {"le"}
        assert labels == set(metric.labels)
        assert (metric.kind is spec.Kind.COUNTER) == metric.name.endswith("_total")
        bounds = {float(s.labels["le"]) for s in family.samples if "le" in s.labels}
        assert bounds == ({*metric.buckets, float("inf")} if metric.buckets else set())
    ours = {name for name in families if name.startswith("omlx_") and not name.endswith("_created")}
    assert ours == {metric.name.removesuffix("_total") for metric in spec.METRICS}


def test_two_apps_count_apart():
    first, second = create_app(FakeServices()), create_app(FakeServices())
    send(first, CHAT, HELLO)
    assert of(scrape(second), "omlx_generation_tokens_total", model_name="tiny") is None


def test_an_error_after_the_answer_began_breaks_the_connection(caplog):
    async def half(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise KeyError("secret")

    with caplog.at_level(logging.ERROR), pytest.raises(KeyError):
        get(RequestId(UnforeseenErrors(half)), "/", headers={"x-request-id": "abc"})
    assert "request abc broke off" in caplog.text
