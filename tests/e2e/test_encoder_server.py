"""Embeddings and reranking over HTTP by the clients that people use, and what is sent to harm them."""

import asyncio
import base64

import cohere
import httpx
import numpy as np
import openai
import pytest

from benchmarks.server import running_server
from tests.e2e.retrieval import PASSAGES, QUESTIONS

EMBEDDER, RERANKER, CHAT = "all-MiniLM-L6-v2", "tiny-xlmr-reranker", "SmolLM2-135M-Instruct"


@pytest.fixture(scope="module")
def server(minilm, tiny, demo_models, tmp_path_factory):
    """A server with a model of each kind."""
    folder = tmp_path_factory.mktemp("models")
    (folder / EMBEDDER).symlink_to(minilm)
    (folder / RERANKER).symlink_to(tiny[0] / RERANKER)
    (folder / CHAT).symlink_to(demo_models / CHAT)
    with running_server(folder, "--no-hf-cache") as running:
        yield running


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=90) as made:
        yield made


def embedded(client, given, **options):
    answer = client.embeddings.create(model=EMBEDDER, input=given, **options)
    return np.array([each.embedding for each in answer.data], dtype=np.float32), answer


def test_the_official_client_gets_vectors_in_both_encodings(client):
    texts = [QUESTIONS[0], *PASSAGES[:3]]
    vectors, answer = embedded(client, texts)  # base64, by itself
    assert vectors.shape == (4, 384)
    assert [each.index for each in answer.data] == [0, 1, 2, 3]
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 4 * 3
    plain, _ = embedded(client, texts, encoding_format="float")
    assert plain == pytest.approx(vectors, abs=1e-6)
    alone, _ = embedded(client, texts[1])
    assert alone[0] == pytest.approx(vectors[1], abs=1e-5)


def test_many_clients_get_what_each_gets_alone(server):
    async def test():
        async with httpx.AsyncClient(base_url=server.url, timeout=90) as http:

            async def vector(text):
                answer = await http.post("/v1/embeddings", json={"model": EMBEDDER, "input": text})
                return answer.json()["data"][0]["embedding"]

            together = await asyncio.gather(*(vector(text) for text in PASSAGES))
            alone = [await vector(text) for text in PASSAGES]
            assert np.array(together) == pytest.approx(np.array(alone), abs=1e-5)

    asyncio.run(test())


@pytest.mark.parametrize("version", [cohere.ClientV2, cohere.Client])
def test_the_official_client_reranks(server, version):
    with httpx.Client(timeout=90) as http:
        client = version("none", base_url=server.url, httpx_client=http)
        answer = client.rerank(model=RERANKER, query=QUESTIONS[0], documents=PASSAGES[:6], top_n=4)
        scores = [each.relevance_score for each in answer.results]
        assert scores == sorted(scores, reverse=True)
        assert len({each.index for each in answer.results}) == 4
        every = client.rerank(model=RERANKER, query=QUESTIONS[0], documents=PASSAGES[:6])
        assert [each.index for each in every.results[:4]] == [each.index for each in answer.results]


@pytest.mark.parametrize(
    ("path", "model", "right"),
    [
        ("/v1/chat/completions", EMBEDDER, "/v1/embeddings"),
        ("/v1/embeddings", CHAT, "/v1/chat/completions"),
        ("/v1/embeddings", RERANKER, "/v1/rerank"),
        ("/v1/rerank", EMBEDDER, "/v1/embeddings"),
    ],
)
def test_the_wrong_endpoint_names_the_right_one(server, path, model, right):
    bodies = {
        "/v1/chat/completions": {"messages": [{"role": "user", "content": "Hi"}]},
        "/v1/embeddings": {"input": "Hi"},
        "/v1/rerank": {"query": "a", "documents": ["b"]},
    }
    answer = httpx.post(f"{server.url}{path}", json={"model": model, **bodies[path]}, timeout=90)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "wrong_model_type"
    assert right in answer.json()["error"]["message"]


HARM = [
    ("/v1/embeddings", b'{"model": "%s", "input": ""}'),
    ("/v1/embeddings", b'{"model": "%s", "input": []}'),
    ("/v1/embeddings", b'{"model": "%s", "input": ["a", ""]}'),
    ("/v1/embeddings", b'{"model": "%s", "input": [[1, 2], []]}'),
    ("/v1/embeddings", b'{"model": "%s", "input": [[1, 999999999]]}'),
    ("/v1/embeddings", b'{"model": "%s", "input": [[-1]]}'),
    ("/v1/embeddings", b'{"model": "%s", "input": {"a": 1}}'),
    ("/v1/embeddings", b'{"model": "%s", "input": "half \\ud800"}'),
    ("/v1/embeddings", b'{"model": "%s", "input": "\xff\xfe"}'),
    ("/v1/embeddings", b'{"model": "%s", "input": [' + b",".join([b'"a"'] * 10_000) + b"]}"),
    ("/v1/embeddings", b'{"model": "%s", "input": "' + b"word " * 100_000 + b'"}'),
    ("/v1/embeddings", b'{"model": "%s", "input": "a", "dimensions": 17}'),
    ("/v1/embeddings", b'{"model": "%s", "input": "a", "dimensions": 0}'),
    ("/v1/embeddings", b'{"model": "%s", "input": "a", "encoding_format": "hex"}'),
    ("/v1/embeddings", b'{"model": "%s", "input": NaN}'),
    ("/v1/rerank", b'{"model": "%s", "query": "", "documents": ["a"]}'),
    ("/v1/rerank", b'{"model": "%s", "query": "a", "documents": []}'),
    ("/v1/rerank", b'{"model": "%s", "query": "a", "documents": ["a", ""]}'),
    ("/v1/rerank", b'{"model": "%s", "query": "a", "documents": [' + b",".join([b'"a"'] * 10_000) + b"]}"),
    ("/v1/rerank", b'{"model": "%s", "query": "a", "documents": [{"title": "no text"}]}'),
    ("/v1/rerank", b'{"model": "%s", "query": "half \\udfff", "documents": ["a"]}'),
    ("/v1/rerank", b'{"model": "%s", "query": "a", "documents": ["a"], "top_n": 0}'),
]


@pytest.mark.parametrize(
    ("path", "body"), HARM, ids=lambda value: value[:60].decode("latin-1") if isinstance(value, bytes) else ""
)
def test_what_can_not_be_is_refused(server, path, body):
    model = EMBEDDER if path == "/v1/embeddings" else RERANKER
    answer = httpx.post(f"{server.url}{path}", content=body.replace(b"%s", model.encode()), timeout=90)
    assert 400 <= answer.status_code < 500
    assert answer.json()["error"]["message"]


def test_the_engines_are_alive_after_all_that(server, client):
    vectors, _ = embedded(client, "still here")
    assert vectors.shape == (1, 384)
    engines = httpx.get(f"{server.url}/health").json()["engines"]
    assert engines[EMBEDDER][0]["restarts"] == 0
    assert engines[RERANKER][0]["restarts"] == 0


def test_base64_is_the_same_numbers(server):
    body = {"model": EMBEDDER, "input": "a", "encoding_format": "base64"}
    coded = httpx.post(f"{server.url}/v1/embeddings", json=body, timeout=90).json()["data"][0]["embedding"]
    assert len(base64.b64decode(coded)) == 4 * 384
