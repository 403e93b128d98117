"""The application as a whole: models, health, documents, and OpenAI's own client."""

import asyncio

import httpx
import openai
import pytest
from openai.types.chat import (
    ChatCompletionContentPartImageParam,
    ChatCompletionContentPartTextParam,
    ChatCompletionUserMessageParam,
)

from actors.contracts import Delta, Image, LikelyToken, TokenLogprob
from actors.errors import EngineError
from actors.models import ModelType
from omlx import __version__
from omlx.app import create_app
from omlx.request_log import RequestIds, RequestLog
from tests.fakes.catalog import served
from tests.fakes.http import get, send
from tests.fakes.pictures import data_url, picture
from tests.fakes.services import FakeServices

HELLO = [{"role": "user", "content": "Hi"}]


def with_client(services, use):
    """Run `use` with OpenAI's client on an application."""

    async def run():
        transport = httpx.ASGITransport(create_app(services))
        async with (
            httpx.AsyncClient(transport=transport) as http,
            openai.AsyncOpenAI(base_url="http://test/v1", api_key="none", http_client=http, max_retries=0) as client,
        ):
            return await use(client)

    return asyncio.run(run())


def test_every_line_that_is_logged_for_a_request_carries_its_id(caplog):
    ids = RequestIds()
    caplog.handler.addFilter(ids)
    app = create_app(FakeServices(refusal=KeyError("secret")), observers=[RequestLog()])
    send(app, "/v1/chat/completions", {"model": "tiny", "messages": HELLO}, {"x-request-id": "abc"})
    caplog.handler.removeFilter(ids)
    said = {record.name: record.request_id for record in caplog.records if record.name.startswith("omlx.")}
    assert said == {"omlx.api.errors": "abc", "omlx.request_log": "abc"}


def test_health():
    answer = get(create_app(FakeServices()), "/health")
    engines = {"tiny": [{"engine_id": "tiny-1", "state": "ready", "restarts": 0}]}
    assert answer.json == {"status": "ok", "version": __version__, "engines": engines}


def test_the_description_is_complete():
    app = create_app(FakeServices())
    for _ in range(2):
        schema = get(app, "/openapi.json").json
    assert {"/v1/chat/completions", "/v1/completions", "/v1/models", "/admin/api/settings", "/metrics"} <= set(schema["paths"])
    defined = schema["components"]["schemas"]

    def references(node):
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                yield node["$ref"]
            for value in node.values():
                yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    found = set(references(schema))
    assert {"#/components/schemas/ChatRequest", "#/components/schemas/SettingsChange"} <= found
    assert {reference.removeprefix("#/components/schemas/") for reference in found} <= set(defined)
    assert get(app, "/docs").status == 404


def test_the_lifespan_runs_around_serving():
    ran = []

    class Lifespan:
        def __init__(self, app):
            pass

        async def __aenter__(self):
            ran.append("start")

        async def __aexit__(self, *error):
            ran.append("stop")

    async def run():
        messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
        sent = []

        async def receive():
            return next(messages)

        async def send(message):
            sent.append(message["type"])

        await create_app(FakeServices(), lifespan=Lifespan)({"type": "lifespan"}, receive, send)
        return sent

    assert asyncio.run(run()) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert ran == ["start", "stop"]


def test_openais_client_reads_whole_answers():
    async def use(client):
        chat = await client.chat.completions.create(model="tiny", messages=HELLO)
        text = await client.completions.create(model="tiny", prompt="Hi")
        return chat, text, [model.id async for model in client.models.list()], await client.models.retrieve("tiny")

    chat, text, models, model = with_client(FakeServices(("Hé", "llo")), use)
    assert chat.choices[0].message.content == "Héllo"
    assert chat.choices[0].message.tool_calls is None
    assert chat.usage.completion_tokens == 3
    assert chat._request_id.startswith("req_")
    assert text.choices[0].text == "Héllo"
    assert models == ["tiny"]
    assert model.owned_by == "omlx"
    for answer in (chat, text):
        type(answer).model_validate(answer.model_dump(), strict=True)


def test_openais_client_sends_pictures():
    async def use(client):
        url = data_url(picture())
        part = ChatCompletionContentPartImageParam(type="image_url", image_url={"url": url, "detail": "low"})
        text = ChatCompletionContentPartTextParam(type="text", text="What is it?")
        messages = [ChatCompletionUserMessageParam(role="user", content=[text, part])]
        answer = await client.chat.completions.create(model="eye", messages=messages)
        with pytest.raises(openai.BadRequestError) as caught:
            await client.chat.completions.create(model="tiny", messages=messages)
        return answer, caught.value

    services = FakeServices(("A", " cat"), models=(served("eye", ModelType.VLM), "tiny"))
    answer, error = with_client(services, use)
    assert answer.choices[0].message.content == "A cat"
    assert services.jobs[0].prompt.images == (Image(picture(), "messages.0.content.1"),)
    assert (error.code, error.param) == ("wrong_model_type", "messages.0.content.1")


def test_openais_client_reads_streams():
    async def use(client):
        options = {"model": "tiny", "stream": True, "stream_options": {"include_usage": True}}
        chat = [chunk async for chunk in await client.chat.completions.create(messages=HELLO, **options)]
        text = [chunk async for chunk in await client.completions.create(prompt="Hi", **options)]
        async with client.chat.completions.stream(model="tiny", messages=HELLO) as stream:
            return chat, text, await stream.get_final_completion()

    chat, text, final = with_client(FakeServices(("Hé", "llo")), use)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chat[:-1]) == "Héllo"
    assert chat[0].choices[0].delta.role == "assistant"
    assert chat[-2].choices[0].finish_reason == "stop"
    assert chat[-1].choices == []
    assert chat[-1].usage.total_tokens == 8
    assert "".join(chunk.choices[0].text for chunk in text[:-1]) == "Héllo"
    assert text[-1].usage.prompt_tokens == 5
    assert final.choices[0].message.content == "Héllo"
    for chunk in chat:
        type(chunk).model_validate(chunk.model_dump(exclude_unset=True), strict=True)


def test_openais_client_reads_several_choices():
    async def use(client):
        options = {"model": "tiny", "n": 2}
        chat = await client.chat.completions.create(messages=HELLO, **options)
        text = await client.completions.create(prompt="Hi", **options)
        chunks = [chunk async for chunk in await client.chat.completions.create(messages=HELLO, stream=True, **options)]
        async with client.chat.completions.stream(messages=HELLO, **options) as stream:
            return chat, text, chunks, await stream.get_final_completion()

    chat, text, chunks, final = with_client(FakeServices(("Hé", "llo")), use)
    for answer in (chat, final):
        assert [(choice.index, choice.message.content) for choice in answer.choices] == [(0, "Héllo"), (1, "Héllo")]
    assert [choice.text for choice in text.choices] == ["Héllo", "Héllo"]
    assert chat.usage.completion_tokens == 6
    for answer in (chat, text, *chunks):
        type(answer).model_validate(answer.model_dump(exclude_unset=True), strict=True)


def test_openais_client_reads_logprobs():
    token = LikelyToken(" Hé", tuple(" Hé".encode()), -0.5)
    script = (Delta("", "", 1, logprobs=(TokenLogprob(token, (token, LikelyToken("\ufffd", None, -1.5))),)), " Hé")

    async def use(client):
        chat = {"model": "tiny", "messages": HELLO, "logprobs": True, "top_logprobs": 2}
        text = {"model": "tiny", "prompt": "Hi", "logprobs": 2}
        return (
            await client.chat.completions.create(**chat),
            [chunk async for chunk in await client.chat.completions.create(**chat, stream=True)],
            await client.completions.create(**text),
            [chunk async for chunk in await client.completions.create(**text, stream=True)],
        )

    chat, chat_chunks, text, text_chunks = with_client(FakeServices(script), use)
    (entry,) = chat.choices[0].logprobs.content
    assert (entry.token, bytes(entry.bytes).decode(), entry.logprob) == (" Hé", " Hé", -0.5)
    assert [(top.token, top.bytes, top.logprob) for top in entry.top_logprobs][1] == ("\ufffd", None, -1.5)
    assert [c.choices[0].logprobs.content for c in chat_chunks if c.choices[0].logprobs] == [[entry_of(chat_chunks)]]
    assert entry_of(chat_chunks).model_dump() == entry.model_dump()
    assert text.choices[0].logprobs.tokens == [" Hé"]
    assert text.choices[0].logprobs.top_logprobs == [{" Hé": -0.5, "\ufffd": -1.5}]
    assert [c.choices[0].logprobs.text_offset for c in text_chunks if c.choices[0].logprobs] == [[0]]
    for answer in (chat, text, *chat_chunks):
        type(answer).model_validate(answer.model_dump(exclude_unset=True), strict=True)


def entry_of(chunks):
    """The one logprobs entry of a stream."""
    (entry,) = [entry for chunk in chunks if chunk.choices[0].logprobs for entry in chunk.choices[0].logprobs.content]
    return entry


def test_openais_client_raises_typed_errors():
    async def use(client):
        with pytest.raises(openai.NotFoundError) as missing:
            await client.chat.completions.create(model="huge", messages=HELLO)
        with pytest.raises(openai.BadRequestError) as refused:
            await client.chat.completions.create(model="tiny", messages=HELLO, extra_body={"functions": [{}]})
        with pytest.raises(openai.APIError) as broken:
            async for _ in await client.chat.completions.create(model="tiny", messages=HELLO, stream=True):
                pass
        with pytest.raises(openai.InternalServerError) as failed:
            await client.chat.completions.create(model="tiny", messages=HELLO)
        return missing.value, refused.value, broken.value, failed.value

    missing, refused, broken, failed = with_client(FakeServices(("Hel", EngineError("tiny", "killed"))), use)
    assert (missing.code, missing.param) == ("model_not_found", "model")
    assert (refused.code, refused.param) == ("unsupported_parameter", "functions")
    assert refused.request_id.startswith("req_")
    assert broken.code == "engine_died"
    assert "killed" in broken.message
    assert (failed.status_code, failed.code) == (503, "engine_died")
