"""Which model answers: by id, by alias, by default; and only one that can."""

import pytest

from actors.models import ModelType
from omlx.app import create_app
from tests.fakes.catalog import served
from tests.fakes.http import events, send
from tests.fakes.services import FakeServices

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
BODIES = {CHAT: {"messages": [{"role": "user", "content": "Hi"}]}, TEXT: {"prompt": "Hi"}}


def ask(path, models, **fields):
    return send(create_app(FakeServices(models=models)), path, BODIES[path] | fields)


@pytest.mark.parametrize("path", [CHAT, TEXT])
@pytest.mark.parametrize("name", ["org/name", "clever"])
def test_an_answer_names_the_model_as_clients_see_it(path, name):
    models = (served("org/name", name="clever"),)
    assert ask(path, models, model=name).json["model"] == "clever"
    chunks = events(ask(path, models, model=name, stream=True).body)[:-1]
    assert {chunk["model"] for chunk in chunks} == {"clever"}


@pytest.mark.parametrize("path", [CHAT, TEXT])
@pytest.mark.parametrize("fields", [{}, {"model": None}, {"model": ""}])
def test_without_a_model_the_default_one_answers(path, fields):
    assert ask(path, ("other", served("tiny", is_default=True)), **fields).json["model"] == "tiny"
    refused = ask(path, ("other", "tiny"), **fields)
    assert refused.status == 400
    assert (refused.json["error"]["code"], refused.json["error"]["param"]) == ("missing_required_parameter", "model")


@pytest.mark.parametrize("path", [CHAT, TEXT])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("kind", "instead"), [(ModelType.EMBEDDING, "/v1/embeddings"), (ModelType.RERANKER, "/v1/rerank")])
def test_a_model_for_something_else_is_refused_with_the_endpoint_that_takes_it(path, stream, kind, instead):
    answer = ask(path, (served("bge", kind),), model="bge", stream=stream)
    assert answer.status == 400
    error = answer.json["error"]
    assert (error["code"], error["param"]) == ("wrong_model_type", "model")
    assert path in error["message"]
    assert instead in error["message"]


@pytest.mark.parametrize("kind", [ModelType.LLM, ModelType.VLM, ModelType.OCR])
def test_models_that_write_text_answer(kind):
    assert ask(CHAT, (served("tiny", kind),), model="tiny").status == 200
