"""Reranking: Jina's and Cohere's shapes, the order of the results, the limits, and Cohere's own clients."""

import asyncio

import cohere
import httpx
import pytest

from actors.contracts import RerankJob, Scores
from actors.errors import EngineError, InvalidJobError
from actors.models import ModelType
from omlx.api.rerank_shapes import Ranking
from omlx.app import create_app
from tests.fakes.catalog import served
from tests.fakes.http import get, post, send
from tests.fakes.services import HANG, FakeServices

PATH = "/v1/rerank"
PATHS = (PATH, "/v2/rerank")
BGE = served("org/bge", ModelType.RERANKER, name="bge")
DOCUMENTS = ["xx", "ab", "a"]  # the middle one has all letters of "ab", the last one half of them


def services(**fields):
    return FakeServices(models=(BGE, "tiny"), **fields)


def ask(of=None, path=PATH, **fields):
    return send(create_app(of or services()), path, {"model": "bge", "query": "ab", "documents": DOCUMENTS} | fields)


def places(answer):
    return [(result["index"], result["relevance_score"]) for result in answer.json["results"]]


@pytest.mark.parametrize("path", PATHS)
def test_an_answer_has_what_jinas_and_coheres_have(path):
    of = services()
    answer = ask(of, path)
    assert answer.json == {
        "id": of.jobs[0].request_id,
        "model": "bge",
        "results": [
            {"index": 1, "relevance_score": 1.0},
            {"index": 2, "relevance_score": 0.5},
            {"index": 0, "relevance_score": 0.0},
        ],
        "usage": {"prompt_tokens": 11, "total_tokens": 11},
        "meta": {"api_version": {"version": path[2]}, "billed_units": {"search_units": 1}, "tokens": {"input_tokens": 11}},
    }
    Ranking.model_validate(answer.json, strict=True)
    assert of.jobs == [RerankJob(of.jobs[0].request_id, "ab", ("xx", "ab", "a"))]
    assert of.jobs[0].request_id.startswith("rerank-")


def test_documents_of_one_score_stay_in_their_order():
    assert places(ask(documents=["b", "ab", "a", "x", "ba", "y"])) == [(1, 1), (4, 1), (0, 0.5), (2, 0.5), (3, 0), (5, 0)]


@pytest.mark.parametrize(("top_n", "given"), [(1, 1), (2, 2), (3, 3), (50, 3), (None, 3)])
def test_as_many_results_as_asked_for(top_n, given):
    of = services()
    assert places(ask(of, top_n=top_n)) == [(1, 1), (2, 0.5), (0, 0)][:given]
    assert len(of.jobs[0].documents) == 3


def test_documents_come_back_as_they_were_sent_where_they_are_wanted():
    of = services()
    documents = ["xx", {"text": "ab", "title": "The best", "page": 7}, {"text": "a"}]
    assert [result["document"] for result in ask(of, documents=documents, return_documents=True).json["results"]] == [
        {"text": "ab", "title": "The best", "page": 7},
        {"text": "a"},
        {"text": "xx"},
    ]
    assert of.jobs[0].documents == ("xx", "ab", "a")


@pytest.mark.parametrize(("fields", "cut"), [({}, True), ({"truncate": False}, False), ({"truncate_prompt_tokens": -1}, True)])
def test_long_documents_are_cut_unless_that_is_not_wanted(fields, cut):
    of = services()
    ask(of, **fields)
    assert of.jobs[0].truncate is cut


@pytest.mark.parametrize(
    "fields",
    [{"rank_fields": ["text"]}, {"max_chunks_per_doc": 1}, {"relevant_spans": {"mode": "disabled"}}, {"instruction": ""}],
)
def test_fields_that_change_nothing_are_accepted(fields):
    assert ask(**fields, priority=3).status == 200


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"query": None}, "query", "missing_required_parameter"),
        ({"query": ""}, "query", "invalid_value"),
        ({"query": 5}, "query", "invalid_type"),
        ({"documents": None}, "documents", "missing_required_parameter"),
        ({"documents": []}, "documents", "invalid_value"),
        ({"documents": "ab"}, "documents", "invalid_type"),
        ({"documents": ["a", ""]}, "documents.1", "invalid_value"),
        ({"documents": ["a", 5]}, "documents.1", "invalid_type"),
        ({"documents": [{"text": ""}]}, "documents.0.text", "invalid_value"),
        ({"documents": [{"title": "a"}]}, "documents.0.text", "missing_required_parameter"),
        ({"documents": [{"text": None}]}, "documents.0.text", "missing_required_parameter"),
        ({"documents": ["a"] * 10_000}, "documents", "invalid_value"),
        ({"top_n": 0}, "top_n", "invalid_value"),
        ({"top_n": "all"}, "top_n", "invalid_type"),
        ({"return_documents": 7}, "return_documents", "invalid_type"),
        ({"truncate": "END"}, "truncate", "invalid_type"),
        ({"truncate_prompt_tokens": 5}, "truncate_prompt_tokens", "unsupported_parameter"),
        ({"rank_fields": ["title"]}, "rank_fields", "unsupported_parameter"),
        ({"max_chunks_per_doc": 10}, "max_chunks_per_doc", "unsupported_parameter"),
        ({"max_tokens_per_doc": 4096}, "max_tokens_per_doc", "unsupported_parameter"),
        ({"relevant_spans": {"mode": "enabled"}}, "relevant_spans", "unsupported_parameter"),
        ({"instruction": "Find code."}, "instruction", "unsupported_parameter"),
    ],
)
def test_what_is_wrong_is_named(fields, param, code):
    of = services()
    answer = ask(of, **fields)
    error = answer.json["error"]
    assert (answer.status, error["param"], error["code"]) == (400, param, code)
    assert param in error["message"]
    assert of.jobs == []


def test_as_many_documents_as_may_be():
    answer = ask(documents=["ab"] * 2048)
    assert len(answer.json["results"]) == 2048
    assert answer.json["meta"]["billed_units"]["search_units"] == 21


@pytest.mark.parametrize(
    ("error", "status"), [(InvalidJobError("Too long.", "documents.3"), 400), (EngineError("org/bge", "killed"), 503)]
)
def test_what_the_engine_refuses_is_told(error, status):
    answer = ask(services(refusal=error))
    assert (answer.status, answer.json["error"]["message"]) == (status, str(error))


def test_a_client_that_leaves_ends_the_work():
    of = services(refusal=HANG)

    async def run():
        call = post(create_app(of), PATH, {"model": "bge", "query": "ab", "documents": DOCUMENTS})
        running = asyncio.create_task(call.run())
        while not of.jobs:  # noqa: ASYNC110 - it is the application that is waited for
            await asyncio.sleep(0)
        call.leave()
        await running
        assert len(asyncio.all_tasks()) == 1, "something was left running"
        return call.status

    assert (asyncio.run(run()), of.cancelled) == (499, 1)


def with_client(of, kind, use):
    """Run `use` with one of Cohere's clients on an application."""

    async def run():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(create_app(of))) as http:
            return await use(kind(api_key="none", base_url="http://test", httpx_client=http))

    return asyncio.run(run())


def test_coheres_client_ranks():
    async def use(client):
        return await client.rerank(model="bge", query="ab", documents=DOCUMENTS, top_n=2)

    answer = with_client(services(), cohere.AsyncClientV2, use)
    assert [(result.index, result.relevance_score) for result in answer.results] == [(1, 1.0), (2, 0.5)]
    assert answer.id.startswith("rerank-")
    assert (answer.meta.billed_units.search_units, answer.meta.tokens.input_tokens) == (1, 11)
    assert answer.meta.api_version.version == "2"


def test_coheres_older_client_ranks_and_gets_its_documents_back():
    async def use(client):
        documents = [{"text": "a"}, {"text": "ab", "title": "The best"}]
        return await client.rerank(model="bge", query="ab", documents=documents, return_documents=True, rank_fields=["text"])

    answer = with_client(services(), cohere.AsyncClient, use)
    assert [(result.index, result.document.text) for result in answer.results] == [(1, "ab"), (0, "a")]
    assert answer.results[0].document.title == "The best"


def test_coheres_client_raises_typed_errors():
    async def use(client):
        with pytest.raises(cohere.BadRequestError) as refused:
            await client.rerank(model="tiny", query="ab", documents=DOCUMENTS)
        with pytest.raises(cohere.NotFoundError):
            await client.rerank(model="none", query="ab", documents=DOCUMENTS)
        return refused.value.body["error"]

    error = with_client(services(), cohere.AsyncClientV2, use)
    assert error["code"] == "wrong_model_type"
    assert "/v1/chat/completions" in error["message"]


def test_scores_that_are_all_there_is_are_shown_as_they_are():
    of = services()

    async def rerank(_served, _job):
        return Scores((0.25, 1e-12, 0.1 + 0.2), 3)

    of.rerank = rerank
    assert places(ask(of)) == [(2, 0.1 + 0.2), (0, 0.25), (1, 1e-12)]


@pytest.mark.parametrize("path", PATHS)
def test_the_form_of_a_request_stands_in_the_document(path):
    schema = get(create_app(services()), "/openapi.json").json
    body = schema["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    assert {"query", "documents", "top_n", "return_documents"} <= set(
        schema["components"]["schemas"][body.rpartition("/")[2]]["properties"]
    )
