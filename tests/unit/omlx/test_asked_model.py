"""Which model answers: by id, by alias, by default; and only one that can."""

import pytest

from actors.models import ModelType
from omlx.app import create_app
from tests.fakes.catalog import served
from tests.fakes.http import events, send
from tests.fakes.services import FakeServices

CHAT, TEXT, EMBED, RANK, RANK2 = PATHS = (
    *("/v1/chat/completions", "/v1/completions"),
    *("/v1/embeddings", "/v1/rerank", "/v2/rerank"),
)
BODIES = {
    CHAT: {"messages": [{"role": "user", "content": "Hi"}]},
    TEXT: {"prompt": "Hi"},
    EMBED: {"input": "Hi"},
    RANK: {"query": "Hi", "documents": ["Hi"]},
    RANK2: {"query": "Hi", "documents": ["Hi"]},
}
FOR = {CHAT: ModelType.LLM, TEXT: ModelType.LLM, EMBED: ModelType.EMBEDDING, RANK: ModelType.RERANKER, RANK2: ModelType.RERANKER}


def ask(path, models, **fields):
    return send(create_app(FakeServices(models=models)), path, BODIES[path] | fields)


@pytest.mark.parametrize("path", [CHAT, TEXT])
@pytest.mark.parametrize("name", ["org/name", "clever"])
def test_an_answer_names_the_model_as_clients_see_it(path, name):
    models = (served("org/name", name="clever"),)
    assert ask(path, models, model=name).json["model"] == "clever"
    chunks = events(ask(path, models, model=name, stream=True).body)[:-1]
    assert {chunk["model"] for chunk in chunks} == {"clever"}


@pytest.mark.parametrize("path", [EMBED, RANK, RANK2])
@pytest.mark.parametrize("name", ["org/name", "clever"])
def test_vectors_and_scores_name_it_likewise(path, name):
    assert ask(path, (served("org/name", FOR[path], name="clever"),), model=name).json["model"] == "clever"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("fields", [{}, {"model": None}, {"model": ""}])
def test_without_a_model_the_default_one_answers(path, fields):
    assert ask(path, ("other", served("tiny", FOR[path], is_default=True)), **fields).json["model"] == "tiny"
    refused = ask(path, ("other", "tiny"), **fields)
    assert refused.status == 400
    assert (refused.json["error"]["code"], refused.json["error"]["param"]) == ("missing_required_parameter", "model")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("path", "kind", "instead"),
    [
        *((path, ModelType.EMBEDDING, EMBED) for path in (CHAT, TEXT, RANK, RANK2)),
        *((path, ModelType.RERANKER, RANK) for path in (CHAT, TEXT, EMBED)),
        *((path, kind, CHAT) for path in (EMBED, RANK, RANK2) for kind in (ModelType.LLM, ModelType.VLM, ModelType.OCR)),
    ],
)
def test_a_model_for_something_else_is_refused_with_the_endpoint_that_takes_it(path, stream, kind, instead):
    services = FakeServices(models=(served("bge", kind),))
    answer = send(create_app(services), path, BODIES[path] | {"model": "bge", "stream": stream})
    assert answer.status == 400
    error = answer.json["error"]
    assert (error["code"], error["param"]) == ("wrong_model_type", "model")
    assert f"which {path} can't use. It is for {instead}." in error["message"]
    assert services.jobs == []


@pytest.mark.parametrize("path", PATHS)
def test_a_model_that_is_not_there_is_404(path):
    answer = ask(path, ("tiny",), model="huge")
    assert (answer.status, answer.json["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize("kind", [ModelType.LLM, ModelType.VLM, ModelType.OCR])
def test_models_that_write_text_answer(kind):
    assert ask(CHAT, (served("tiny", kind),), model="tiny").status == 200
