"""A request's facts under the names of OpenTelemetry's conventions."""

import pytest

from omlx.telemetry.conventions import error_type, is_server_fault, measured, operation, server_attributes, traced
from tests.fakes.records import chatted, refused


@pytest.mark.parametrize(
    ("endpoint", "name"),
    [
        ("/v1/chat/completions", "chat"),
        ("/v1/completions", "text_completion"),
        ("/v1/embeddings", "embeddings"),
        ("/v2/rerank", "rerank"),
    ],
)
def test_an_operation_is_called_by_what_the_endpoint_makes(endpoint, name):
    assert operation(chatted(endpoint=endpoint)) == name


def test_an_address_is_where_the_server_listens():
    assert server_attributes("127.0.0.1", 8000) == {"server.address": "127.0.0.1", "server.port": 8000}
    assert server_attributes("studio.local", 80) == {"server.address": "studio.local", "server.port": 80}


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])  # noqa: S104
def test_every_address_is_none(host):
    assert server_attributes(host, 8000) == {}


def test_a_model_that_is_not_there_has_no_name():
    assert measured(refused(404, "model_not_found", model_id="")) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "omlx",
    }


def test_a_model_has_answered_only_where_generation_began():
    assert measured(chatted())["gen_ai.response.model"] == "tiny"
    other = measured(refused(429, "queue_full"))
    assert other["gen_ai.request.model"] == "tiny"
    assert "gen_ai.response.model" not in other


@pytest.mark.parametrize(
    ("record", "kind", "fault"),
    [
        (chatted(), "", False),
        (refused(400, "context_length_exceeded"), "context_length_exceeded", False),
        (refused(503, "engine_died"), "engine_died", True),
        (chatted(finish_reason="error", error="engine_died"), "engine_died", True),
        (chatted(finish_reason="error"), "_OTHER", True),
        (chatted(finish_reason="abort"), "client_gone", False),
        (refused(499, "client_gone"), "client_gone", False),
        (refused(0, ""), "_OTHER", True),
        (refused(500, ""), "_OTHER", True),
        (refused(422, ""), "_OTHER", False),
    ],
)
def test_a_failure_is_told_by_its_code_and_by_whose_fault_it_is(record, kind, fault):
    assert (error_type(record), is_server_fault(record)) == (kind, fault)


def test_a_span_says_all_of_an_answer():
    assert traced(chatted(stream=True)) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "omlx",
        "gen_ai.request.model": "tiny",
        "gen_ai.response.model": "tiny",
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.request.stream": True,
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.response.time_to_first_chunk": 1.5,
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 8,
        "http.request.method": "POST",
        "http.route": "/v1/chat/completions",
        "http.response.status_code": 200,
        "http.response.header.x-request-id": ["req_1"],
        "url.path": "/v1/chat/completions",
        "url.scheme": "http",
    }


def test_tokens_of_a_prompt_that_no_engine_took_are_not_known():
    attributes = traced(chatted(finish_reason="abort", prompt_tokens=0, completion_tokens=0, usage=None))
    assert attributes["gen_ai.response.finish_reasons"] == ["abort"]
    assert not {name for name in attributes if name.startswith("gen_ai.usage")}


def test_a_span_says_nothing_of_an_answer_that_was_not_given():
    attributes = traced(refused(0, "", answer_id="chatcmpl-1"))
    assert not {name for name in attributes if name.startswith(("gen_ai.usage", "gen_ai.response"))}
    assert "http.response.status_code" not in attributes
    assert attributes["error.type"] == "_OTHER"


def test_what_makes_no_text_has_nothing_of_text():
    record = chatted(endpoint="/v1/embeddings", is_generation=False, answer_id="", usage=None, first_token=None, last_token=None)
    attributes = traced(record)
    assert attributes["gen_ai.operation.name"] == "embeddings"
    assert attributes["gen_ai.usage.input_tokens"] == 12
    missing = ("request.stream", "response.id", "response.finish_reasons", "usage.output_tokens")
    assert not {f"gen_ai.{name}" for name in missing} & attributes.keys()
