"""Embeddings: every form of input, both encodings, the limits, and OpenAI's own client."""

import asyncio
import base64
from array import array

import httpx
import openai
import pytest

from actors.contracts import EmbedJob, TextPrompt, TokenPrompt, Vectors
from actors.errors import EngineError, InvalidJobError, QueueFullError
from actors.models import ModelType
from omlx.api.embedding_shapes import EmbeddingList
from omlx.api.embeddings import _MOST_AT_ONCE
from omlx.app import create_app
from tests.fakes.catalog import served
from tests.fakes.http import Call, get, post, send
from tests.fakes.services import HANG, FakeServices

PATH = "/v1/embeddings"
BGE = served("org/bge", ModelType.EMBEDDING, name="bge")
NEARLY = array("f", [0.1])[0]  # as float32


def services(**fields):
    return FakeServices(models=(BGE, "tiny"), **fields)


def ask(given="Hello", of=None, **fields):
    return send(create_app(of or services()), PATH, {"model": "bge", "input": given, **fields})


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("Hello", (TextPrompt("Hello"),)),
        (["Hello"], (TextPrompt("Hello"),)),
        (["Hello", "there", "Hello"], (TextPrompt("Hello"), TextPrompt("there"), TextPrompt("Hello"))),
        ([5, 6], (TokenPrompt((5, 6)),)),
        ([[5, 6], [7]], (TokenPrompt((5, 6)), TokenPrompt((7,)))),
        ([[5], "Hello"], (TokenPrompt((5,)), TextPrompt("Hello"))),
        (["a"] * 2048, (TextPrompt("a"),) * 2048),
        (list(range(3000)), (TokenPrompt(tuple(range(3000))),)),
    ],
)
def test_each_form_of_input(given, used):
    of = services()
    answer = ask(given, of)
    assert answer.status == 200
    assert of.jobs[0].inputs == used
    assert [item["index"] for item in answer.json["data"]] == list(range(len(used)))


def test_an_answer_has_openais_shape_and_nothing_else():
    answer = ask(["Hello", "you"])
    assert answer.headers["content-type"] == "application/json"
    assert answer.json == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [5.0, 0.0, NEARLY]},
            {"object": "embedding", "index": 1, "embedding": [3.0, 1.0, NEARLY]},
        ],
        "model": "bge",
        "usage": {"prompt_tokens": 8, "total_tokens": 8},
    }
    documented = EmbeddingList.model_validate(answer.json, strict=True, extra="forbid")
    assert documented.model_dump() == answer.json


def test_base64_is_the_same_numbers_as_little_endian_float32():
    (vector,) = ask(encoding_format="base64").json["data"]
    assert base64.b64decode(vector["embedding"]) == bytes.fromhex("0000a04000000000cdcccc3d")


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_large_answers_are_written_whole(encoding):
    dimensions = _MOST_AT_ONCE // 16
    numbers = array("f", [index / 7 for index in range(5 * dimensions)])
    of = services()

    async def embed(_served, _job):
        return Vectors(numbers.tobytes(), dimensions, 5)

    of.embed = embed
    given = [item["embedding"] for item in ask(["a"] * 5, of, encoding_format=encoding).json["data"]]
    if encoding == "base64":
        given = [array("f", base64.b64decode(each)).tolist() for each in given]
    assert [number for each in given for number in each] == numbers.tolist()
    assert {len(each) for each in given} == {dimensions}


@pytest.mark.parametrize(
    ("fields", "dimensions", "truncate"),
    [
        ({}, None, False),
        ({"dimensions": None, "truncate": None, "truncate_prompt_tokens": None, "user": "me"}, None, False),
        ({"dimensions": 1}, 1, False),
        ({"truncate": True}, None, True),
        ({"truncate_prompt_tokens": -1}, None, True),
    ],
)
def test_what_is_asked_for_reaches_the_engine(fields, dimensions, truncate):
    of = services()
    assert ask("Hello", of, **fields).status == 200
    (job,) = of.jobs
    assert job == EmbedJob(job.request_id, (TextPrompt("Hello"),), dimensions, truncate)
    assert job.request_id.startswith("embd-")


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"input": None}, "input", "missing_required_parameter"),
        ({"input": ""}, "input", "invalid_value"),
        ({"input": []}, "input", "invalid_value"),
        ({"input": [""]}, "input.0", "invalid_value"),
        ({"input": ["a", ""]}, "input.1", "invalid_value"),
        ({"input": [[]]}, "input.0", "invalid_value"),
        ({"input": [[1], []]}, "input.1", "invalid_value"),
        ({"input": ["a"] * 2049}, "input", "invalid_value"),
        ({"input": [[1]] * 10_000}, "input", "invalid_value"),
        ({"input": {"text": "a"}}, "input", "invalid_type"),
        ({"input": 5}, "input", "invalid_type"),
        ({"input": ["a", 5]}, "input.1", "invalid_type"),
        ({"input": [5, "a"]}, "input.1", "invalid_type"),
        ({"input": [{"image": "x"}]}, "input.0", "invalid_type"),
        ({"input": [-1]}, "input.0", "invalid_value"),
        ({"input": [[1, 2.5]]}, "input.0.1", "invalid_type"),
        ({"input": [[1, True]]}, "input.0.1", "invalid_type"),
        ({"encoding_format": "int8"}, "encoding_format", "invalid_value"),
        ({"dimensions": 0}, "dimensions", "invalid_value"),
        ({"dimensions": "all"}, "dimensions", "invalid_type"),
        ({"truncate": "END"}, "truncate", "invalid_type"),
        ({"truncate_prompt_tokens": 256}, "truncate_prompt_tokens", "unsupported_parameter"),
        ({"model": 5}, "model", "invalid_type"),
    ],
)
def test_what_is_wrong_is_named(fields, param, code):
    of = services()
    answer = ask(of=of, **({"given": fields["input"]} if "input" in fields else fields))
    error = answer.json["error"]
    assert (answer.status, error["param"], error["code"]) == (400, param, code)
    assert param in error["message"]
    assert len(error["message"]) < 300
    assert of.jobs == []


@pytest.mark.parametrize("text", [b'"\\ud800"', b'"\xff"', b'["a", "\\udfff"]'])
def test_what_is_no_unicode_is_no_json(text):
    of = services()
    answer = send(create_app(of), PATH, b'{"model": "bge", "input": ' + text + b"}")
    assert (answer.status, answer.json["error"]["code"]) == (400, "invalid_json")
    assert of.jobs == []


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InvalidJobError("Too long.", "input.3"), 400, "invalid_value"),
        (QueueFullError("org/bge", 8, 17), 429, "queue_full"),
        (EngineError("org/bge", "killed"), 503, "engine_died"),
    ],
)
def test_what_the_engine_refuses_is_told(error, status, code):
    answer = ask(of=services(refusal=error))
    assert (answer.status, answer.json["error"]["code"]) == (status, code)
    assert answer.json["error"]["message"] == str(error)


def test_a_client_that_leaves_ends_the_work():
    of = services(refusal=HANG)

    async def run():
        app = create_app(of)
        call = post(app, PATH, {"model": "bge", "input": "Hello"})
        running = asyncio.create_task(call.run())
        while not of.jobs:  # noqa: ASYNC110 - it is the application that is waited for
            await asyncio.sleep(0)
        call.leave()
        await running
        assert len(asyncio.all_tasks()) == 1, "something was left running"
        return call.status, (await Call(app, "GET", "/metrics").run()).body

    status, metrics = asyncio.run(run())
    assert (status, of.cancelled) == (499, 1)
    assert b'omlx_requests_aborted_total{model_name="org/bge"} 1.0' in metrics
    assert (
        b'omlx_requests_total{endpoint="/v1/embeddings",finished_reason="abort",model_name="org/bge",status="499"} 1.0' in metrics
    )
    assert b"omlx_requests_rejected_total{" not in metrics


def with_client(of, use):
    """Run `use` with OpenAI's client on an application."""

    async def run():
        async with (
            httpx.AsyncClient(transport=httpx.ASGITransport(create_app(of))) as http,
            openai.AsyncOpenAI(base_url="http://test/v1", api_key="none", http_client=http, max_retries=0) as client,
        ):
            return await use(client)

    return asyncio.run(run())


def test_openais_client_asks_for_base64_and_reads_numbers():
    seen = []

    async def use(client):
        client._client.event_hooks["request"].append(note)
        return await client.embeddings.create(model="bge", input=["Hello", "you"], user="me")

    async def note(request):
        seen.append(request.read())

    answer = with_client(services(), use)
    assert b'"encoding_format":"base64"' in seen[0].replace(b": ", b":")
    assert [[float(number) for number in item.embedding] for item in answer.data] == [[5.0, 0.0, NEARLY], [3.0, 1.0, NEARLY]]
    assert [item.index for item in answer.data] == [0, 1]
    assert (answer.object, answer.model, answer.usage.prompt_tokens, answer.usage.total_tokens) == ("list", "bge", 8, 8)


def test_openais_client_reads_numbers_that_it_asks_for_and_sends_tokens():
    of = services()

    async def use(client):
        return await client.embeddings.create(
            model="bge", input=[[1, 2], [3]], encoding_format="float", dimensions=3, extra_body={"truncate": True}
        )

    answer = with_client(of, use)
    assert [item.embedding for item in answer.data] == [[2.0, 0.0, NEARLY], [1.0, 1.0, NEARLY]]
    assert (of.jobs[0].dimensions, of.jobs[0].truncate) == (3, True)


def test_openais_client_raises_typed_errors_and_lists_what_models_can_do():
    async def use(client):
        with pytest.raises(openai.BadRequestError) as refused:
            await client.embeddings.create(model="tiny", input="Hello")
        assert refused.value.code == "wrong_model_type"
        return [model async for model in client.models.list()], await client.models.retrieve("bge")

    listed, one = with_client(services(), use)
    assert {model.id: model.capabilities for model in listed} == {"bge": ["embeddings"], "tiny": ["chat", "completions"]}
    assert (one.id, one.object, one.owned_by, one.capabilities) == ("bge", "model", "omlx", ["embeddings"])


def test_the_form_of_a_request_stands_in_the_document():
    schema = get(create_app(services()), "/openapi.json").json
    body = schema["paths"][PATH]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    assert {"input", "encoding_format", "dimensions", "truncate"} <= set(
        schema["components"]["schemas"][body.rpartition("/")[2]]["properties"]
    )
