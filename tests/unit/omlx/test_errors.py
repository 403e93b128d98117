"""Everything that goes wrong: OpenAI's shape, the right status, and the field to blame."""

import json
import logging
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import errors
from actors.models import ModelType
from omlx.api.embedding_shapes import EmbeddingRequest
from omlx.api.errors import ERRORS, RequestError
from omlx.api.openai import ChatRequest, CompletionRequest
from omlx.api.rerank_shapes import RerankRequest
from omlx.app import create_app
from tests.fakes.catalog import served
from tests.fakes.http import get, send
from tests.fakes.services import FakeServices

CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"
USER = {"role": "user", "content": "Hi"}
APP = create_app(FakeServices())


def refusal(path, fields):
    base = {"model": "tiny", "messages": [USER]} if path == CHAT else {"model": "tiny", "prompt": "Hi"}
    answer = send(APP, path, base | fields)
    assert answer.status == 400, answer.body
    assert set(answer.json) == {"error"}
    error = answer.json["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    return error


def content(*parts):
    return {"messages": [{"role": "user", "content": list(parts)}]}


UNSUPPORTED = [
    (CHAT, {"tools": [{"type": "web_search"}]}, "tools.0.type"),
    (CHAT, {"functions": [{"name": "f"}]}, "functions"),
    (CHAT, {"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}}, "tool_choice.type"),
    (CHAT, {"function_call": {"name": "f"}}, "function_call"),
    (CHAT, {"response_format": {"type": "json_object"}}, "response_format"),
    (CHAT, {"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format"),
    (CHAT, content({"type": "text", "text": "a"}, {"type": "input_audio"}), "messages.0.content.1.type"),
    (CHAT, content({"type": "file", "file": {}}), "messages.0.content.0.type"),
    (TEXT, {"prompt": ["a", "b"]}, "prompt"),
    (TEXT, {"prompt": [[1], [2]]}, "prompt"),
    (TEXT, {"best_of": 2}, "best_of"),
    (TEXT, {"echo": True}, "echo"),
    (TEXT, {"suffix": "end"}, "suffix"),
    (TEXT, {"best_of": 1, "n": 2}, "best_of"),
]


@pytest.mark.parametrize(("path", "fields", "param"), UNSUPPORTED)
def test_what_would_change_the_answer_is_refused_by_name(path, fields, param):
    error = refusal(path, fields)
    assert error["code"] == "unsupported_parameter"
    assert error["param"] == param


TOOL = {"type": "function", "function": {"name": "f"}}
CALLED = {"role": "assistant", "tool_calls": [{"id": "1", "function": {"arguments": "{}"}}]}
INVALID = [
    (CHAT, {"tools": [TOOL, {"type": "function"}]}, "tools.1.function", "missing_required_parameter"),
    (CHAT, {"tools": [{"function": {"name": ""}}]}, "tools.0.function.name", "invalid_value"),
    (CHAT, {"tools": [TOOL], "tool_choice": "any"}, "tool_choice", "invalid_value"),
    (CHAT, {"tools": [TOOL], "tool_choice": 5}, "tool_choice", "invalid_type"),
    (CHAT, {"tool_choice": "required"}, "tool_choice", "invalid_value"),
    (CHAT, {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}}, "tool_choice", "invalid_value"),
    (CHAT, {"messages": [CALLED]}, "messages.0.tool_calls.0.function.name", "missing_required_parameter"),
    (CHAT, {"model": None}, "model", "missing_required_parameter"),
    (CHAT, {"model": 5}, "model", "invalid_type"),
    (CHAT, {"model": ""}, "model", "missing_required_parameter"),
    (CHAT, {"messages": None}, "messages", "missing_required_parameter"),
    (CHAT, {"messages": "Hi"}, "messages", "invalid_type"),
    (CHAT, {"messages": []}, "messages", "invalid_value"),
    (CHAT, {"messages": ["Hi"]}, "messages.0", "invalid_type"),
    (CHAT, {"messages": [USER, {"role": "wizard", "content": "Hi"}]}, "messages.1.role", "invalid_value"),
    (CHAT, {"messages": [{"content": "Hi"}]}, "messages.0.role", "missing_required_parameter"),
    (CHAT, {"messages": [{"role": "user"}]}, "messages.0.content", "missing_required_parameter"),
    (CHAT, {"messages": [{"role": "user", "content": None}]}, "messages.0.content", "missing_required_parameter"),
    (CHAT, {"messages": [{"role": "user", "content": 5}]}, "messages.0.content", "invalid_type"),
    (CHAT, {"messages": [{"role": "user", "content": []}]}, "messages.0.content", "invalid_value"),
    (CHAT, content("Hi"), "messages.0.content.0", "invalid_type"),
    (CHAT, content({"type": "text"}), "messages.0.content.0.text", "missing_required_parameter"),
    (CHAT, content({"type": "text", "text": 5}), "messages.0.content.0.text", "invalid_type"),
    (CHAT, content({"type": "image_url"}), "messages.0.content.0.image_url", "missing_required_parameter"),
    (CHAT, content({"type": "image", "image": None}), "messages.0.content.0.image_url", "missing_required_parameter"),
    (CHAT, content({"type": "input_image", "image_url": 5}), "messages.0.content.0.image_url", "invalid_type"),
    (CHAT, content({"type": "image", "image": []}), "messages.0.content.0.image", "invalid_type"),
    (CHAT, content({"type": "image_url", "image_url": {}}), "messages.0.content.0.image_url.url", "missing_required_parameter"),
    (
        CHAT,
        content({"type": "image_url", "image_url": {"url": "x", "detail": "most"}}),
        "messages.0.content.0.image_url.detail",
        "invalid_value",
    ),
    (CHAT, content({"text": "Hi"}), "messages.0.content.0.type", "missing_required_parameter"),
    (CHAT, {"stream": {}}, "stream", "invalid_type"),
    (CHAT, {"stream_options": {"include_usage": []}}, "stream_options.include_usage", "invalid_type"),
    (TEXT, {"prompt": None}, "prompt", "missing_required_parameter"),
    (TEXT, {"prompt": []}, "prompt", "invalid_type"),
    (TEXT, {"prompt": {}}, "prompt", "invalid_type"),
    (TEXT, {"prompt": [-1]}, "prompt.0", "invalid_value"),
    (TEXT, {"prompt": [1, "a"]}, "prompt.1", "invalid_type"),
    (TEXT, {"prompt": [[1, 2.5]]}, "prompt.0.1", "invalid_type"),
    *((path, {"n": 0}, "n", "invalid_value") for path in (CHAT, TEXT)),
    *((path, {"n": 129}, "n", "invalid_value") for path in (CHAT, TEXT)),
    *((path, {"n": "all"}, "n", "invalid_type") for path in (CHAT, TEXT)),
    (TEXT, {"n": 0, "best_of": 2}, "n", "invalid_value"),
    *((path, {"temperature": 2.1}, "temperature", "invalid_value") for path in (CHAT, TEXT)),
    *((path, {"temperature": -1}, "temperature", "invalid_value") for path in (CHAT, TEXT)),
    *((path, {"temperature": "hot"}, "temperature", "invalid_type") for path in (CHAT, TEXT)),
    *((path, {"top_p": 0}, "top_p", "invalid_value") for path in (CHAT, TEXT)),
    *((path, {"top_p": 1.1}, "top_p", "invalid_value") for path in (CHAT, TEXT)),
    *((path, {"top_k": -2}, "top_k", "invalid_value") for path in (CHAT, TEXT)),
    *((path, {"top_k": 1.5}, "top_k", "invalid_value") for path in (CHAT, TEXT)),
    *((path, {"min_p": 1.1}, "min_p", "invalid_value") for path in (CHAT, TEXT)),
    *((path, {"frequency_penalty": 2.1}, "frequency_penalty", "invalid_value") for path in (CHAT, TEXT)),
    *((path, {"presence_penalty": -2.1}, "presence_penalty", "invalid_value") for path in (CHAT, TEXT)),
    *((path, {"repetition_penalty": 0}, "repetition_penalty", "invalid_value") for path in (CHAT, TEXT)),
    *((path, {"logit_bias": [1]}, "logit_bias", "invalid_type") for path in (CHAT, TEXT)),
    *((path, {"logit_bias": {"5": 101}}, "logit_bias.5", "invalid_value") for path in (CHAT, TEXT)),
    *((path, {"logit_bias": {"5": "much"}}, "logit_bias.5", "invalid_type") for path in (CHAT, TEXT)),
    *((path, {"logit_bias": {"word": 1}}, "logit_bias.word", "invalid_type") for path in (CHAT, TEXT)),
    *((path, {"logit_bias": {"-1": 1}}, "logit_bias.-1", "invalid_value") for path in (CHAT, TEXT)),
    *((path, {"min_tokens": -1}, "min_tokens", "invalid_value") for path in (CHAT, TEXT)),
    *((path, {"min_tokens": 5, "max_tokens": 4}, "min_tokens", "invalid_value") for path in (CHAT, TEXT)),
    *((path, {"ignore_eos": 7}, "ignore_eos", "invalid_type") for path in (CHAT, TEXT)),
    *((path, {"stop_token_ids": ["a"]}, "stop_token_ids.0", "invalid_type") for path in (CHAT, TEXT)),
    *((path, {"stop_token_ids": [-1]}, "stop_token_ids.0", "invalid_value") for path in (CHAT, TEXT)),
    (CHAT, {"logprobs": 5}, "logprobs", "invalid_type"),
    (CHAT, {"logprobs": True, "top_logprobs": 21}, "top_logprobs", "invalid_value"),
    (CHAT, {"top_logprobs": 2}, "top_logprobs", "invalid_value"),
    (CHAT, {"chat_template_kwargs": [1]}, "chat_template_kwargs", "invalid_type"),
    (TEXT, {"logprobs": 6}, "logprobs", "invalid_value"),
    (TEXT, {"logprobs": True}, "logprobs", "invalid_type"),
    *((path, {"max_tokens": 0}, "max_tokens", "invalid_value") for path in (CHAT, TEXT)),
    *((path, {"stop": ["a"] * 17}, "stop", "invalid_value") for path in (CHAT, TEXT)),
    *((path, {"stop": [""]}, "stop.0", "invalid_value") for path in (CHAT, TEXT)),
    *((path, {"stop": ""}, "stop", "invalid_value") for path in (CHAT, TEXT)),
    *((path, {"stop": 5}, "stop", "invalid_type") for path in (CHAT, TEXT)),
    *((path, {"seed": 2**64}, "seed", "invalid_value") for path in (CHAT, TEXT)),
    *((path, {"seed": 0.5}, "seed", "invalid_value") for path in (CHAT, TEXT)),
]


@pytest.mark.parametrize(("path", "fields", "param", "code"), INVALID)
def test_what_is_wrong_is_named(path, fields, param, code):
    error = refusal(path, fields)
    assert error["param"] == param
    assert error["code"] == code
    assert param in error["message"]


def test_messages_say_what_would_be_right():
    role = refusal(CHAT, {"messages": [{"role": "wizard", "content": "Hi"}]})["message"]
    assert "'system', 'developer', 'user', 'assistant', 'tool' or 'function'" in role
    assert "wizard" in role
    assert "empty" in refusal(CHAT, {"messages": []})["message"]
    assert "less than or equal to 2, not 5" in refusal(CHAT, {"temperature": 5})["message"]
    assert len(refusal(CHAT, {"temperature": "x" * 1000})["message"]) < 300


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"a": NaN}', b'"\\ud800"', b"[" * 5000])
def test_what_is_not_json_is_said_so(body):
    answer = send(APP, CHAT, body)
    assert answer.status == 400
    assert answer.json["error"]["code"] == "invalid_json"


@pytest.mark.parametrize("body", [b"5", b"[]", b"null", b'"text"'])
def test_a_body_is_an_object(body):
    answer = send(APP, CHAT, body)
    assert answer.status == 400
    assert answer.json["error"]["message"] == "The request's body should be a JSON object."
    assert answer.json["error"]["param"] is None


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", None])
def test_the_content_type_does_not_matter(content_type):
    headers = {"content-type": content_type} if content_type else {}
    assert send(APP, CHAT, {"model": "tiny", "messages": [USER]}, headers).status == 200


FAILURES = [
    (errors.ContextLengthError(200, 128, "messages"), 400, "context_length_exceeded", "messages", {}),
    (errors.InvalidJobError("No.", "prompt"), 400, "invalid_value", "prompt", {}),
    (errors.ModelLoadError("tiny", "no memory"), 503, "model_load_failed", None, {"x-should-retry": "false"}),
    (errors.EngineError("tiny", "killed"), 503, "engine_died", None, {"retry-after": "1"}),
    (errors.QueueFullError("tiny", 8, 17), 429, "queue_full", None, {"retry-after": "17"}),
    (errors.RequestTimeoutError("too slow"), 504, "request_timeout", None, {"x-should-retry": "false"}),
    (errors.InsufficientMemoryError("tiny", 5, 3, 9, ["big"]), 507, "insufficient_memory", None, {"x-should-retry": "false"}),
    (errors.WrongModelTypeError("tiny", "embedding", "chat"), 400, "wrong_model_type", "model", {}),
    (errors.InvalidSettingError("seed", "No."), 400, "invalid_setting", "seed", {}),
    (errors.StaleRevisionError("1", "2"), 409, "stale_revision", None, {"x-should-retry": "false"}),
    (errors.CatalogError("Gone."), 503, "catalog_unavailable", None, {"retry-after": "1"}),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("error", "status", "code", "param", "headers"), FAILURES)
def test_each_error_has_its_status_and_code(error, status, code, param, headers, stream):
    answer = send(create_app(FakeServices(refusal=error)), CHAT, {"model": "tiny", "messages": [USER], "stream": stream})
    assert answer.status == status
    kind = {400: "invalid_request_error", 409: "invalid_request_error", 429: "rate_limit_error"}.get(status, "server_error")
    assert answer.json == {"error": {"message": str(error), "type": kind, "param": param, "code": code}}
    assert headers.items() <= answer.headers.items()


def test_every_error_that_crosses_processes_is_in_the_table():
    tree = [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, errors.OmlxError)]
    assert set(tree) - {errors.OmlxError} <= set(ERRORS)


def test_an_unknown_model_is_404_with_those_that_are_there():
    answer = send(APP, CHAT, {"model": "huge", "messages": [USER]})
    assert answer.status == 404
    error = answer.json["error"]
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", "model", "model_not_found")
    assert "tiny" in error["message"]


def test_an_unknown_url_and_a_wrong_method():
    answer = get(APP, "/v1/nothing")
    assert answer.status == 404
    assert answer.json["error"]["code"] == "unknown_url"
    assert "/v1/nothing" in answer.json["error"]["message"]
    answer = get(APP, CHAT)
    assert answer.status == 405
    assert answer.headers["allow"] == "POST"
    assert answer.json["error"]["code"] == "method_not_allowed"


@pytest.mark.parametrize("stream", [False, True])
def test_an_unforeseen_error_is_logged_under_the_request_id(stream, caplog):
    app = create_app(FakeServices(refusal=KeyError("secret")))
    with caplog.at_level(logging.ERROR):
        answer = send(app, CHAT, {"model": "tiny", "messages": [USER], "stream": stream}, {"x-request-id": "abc"})
    assert answer.status == 500
    assert answer.headers["x-request-id"] == "abc"
    assert answer.json["error"]["code"] == "internal_error"
    assert "abc" in answer.json["error"]["message"]
    assert "secret" not in answer.json["error"]["message"]
    assert [getattr(each, "request_id", None) for each in caplog.records if each.message == "the request failed"] == ["abc"]
    assert "secret" in caplog.text


def test_an_unforeseen_error_in_a_stream_is_an_event(caplog):
    app = create_app(FakeServices(("Hel", KeyError("secret"))))
    answer = send(app, CHAT, {"model": "tiny", "messages": [USER], "stream": True}, {"x-request-id": "abc"})
    assert json.loads(answer.body.split(b"data: ")[-1])["error"]["code"] == "internal_error"
    assert "secret" in caplog.text


def test_request_errors_pickle_like_the_others():
    error = pickle.loads(pickle.dumps(RequestError("No.", param="x", code="c", status=413)))
    assert (str(error), error.param, error.code, error.status) == ("No.", "x", "c", 413)


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8"))
anything = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
names = st.sampled_from(sorted({*ChatRequest.model_fields, *CompletionRequest.model_fields}))
messages = st.lists(st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "wizard"]), "content": anything}))
bodies = st.dictionaries(names | st.text(), anything).flatmap(
    lambda fields: st.fixed_dictionaries(
        {"model": st.just("tiny") | anything, "messages": messages | anything, "prompt": anything}
    ).map(lambda base: base | fields)
)


@settings(max_examples=150, deadline=None, database=None)
@given(path=st.sampled_from([CHAT, TEXT]), body=bodies | anything)
def test_no_body_makes_the_server_fail(path, body):
    answer = send(APP, path, body)
    assert answer.status in (200, 400, 404)


READ = {
    "/v1/embeddings": (EmbeddingRequest, FakeServices(models=(served("bge", ModelType.EMBEDDING),))),
    "/v1/rerank": (RerankRequest, FakeServices(models=(served("bge", ModelType.RERANKER),))),
}
READERS = {path: create_app(services) for path, (_, services) in READ.items()}
texts = st.lists(anything) | anything


@settings(max_examples=150, deadline=None, database=None)
@given(data=st.data(), path=st.sampled_from(sorted(READ)))
def test_no_body_makes_vectors_and_scores_fail(data, path):
    fields = st.dictionaries(st.sampled_from(sorted(READ[path][0].model_fields)) | st.text(), anything)
    base = st.fixed_dictionaries(
        {"model": st.just("bge") | anything, "input": texts, "query": st.text() | anything, "documents": texts}
    )
    body = data.draw(st.tuples(base, fields).map(lambda both: both[0] | both[1]) | anything)
    assert send(READERS[path], path, body).status in (200, 400, 404)
