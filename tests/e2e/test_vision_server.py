"""Pictures over HTTP, by the official client: several of them, several turns, in company of text."""

import asyncio
import base64

import httpx
import openai
import pytest

from benchmarks.server import running_server
from tests.e2e.test_vision import picture
from tests.fakes.pictures import claimed_png, data_url
from tests.fakes.pictures import picture as drawn

MODEL = "seeing"


def part(seed):
    data = base64.b64encode(picture(seed).data).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}


def turn(*parts):
    contents = [part(each) if isinstance(each, int) else {"type": "text", "text": each} for each in parts]
    return {"role": "user", "content": contents}


@pytest.fixture(scope="module")
def server(demo_models, tmp_path_factory):
    """A server with a model that sees and one that doesn't."""
    from tests.e2e.vision_models import write_smolvlm

    folder = tmp_path_factory.mktemp("models")
    write_smolvlm(folder / MODEL, demo_models / "SmolLM2-135M-Instruct")
    (folder / "blind").symlink_to(demo_models / "SmolLM2-135M-Instruct")
    with running_server(folder, "--no-hf-cache") as running:
        yield running


@pytest.fixture
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=90) as made:
        yield made


def ask(client, *messages, model=MODEL, **options):
    return client.chat.completions.create(model=model, messages=messages, max_tokens=12, temperature=0, **options)


def test_a_chat_goes_on_about_its_pictures(client):
    first = turn(
        1, "Compare this with ", 2, ". Say which is the brighter one, which has more colours, and what each of them might show."
    )
    answer = ask(client, first)
    assert answer.choices[0].message.content
    tokens = answer.usage.prompt_tokens
    assert tokens > 2 * 19  # each picture has that many
    said = {"role": "assistant", "content": answer.choices[0].message.content}
    second = ask(client, first, said, turn("And this one?", 3))
    assert second.usage.prompt_tokens_details.cached_tokens > tokens // 2
    other = ask(client, turn(2, "Compare this with ", 1))
    assert other.usage.prompt_tokens_details.cached_tokens < 19  # nothing but words before the first picture


def test_pictures_and_words_share_a_batch(server):
    async def test():
        bodies = [[turn(4, "What is this?")], [turn("What is the capital of France?")], [turn(5, 6, "Which one?")]]

        async def answer(http, messages):
            body = {"model": MODEL, "messages": messages, "max_tokens": 12, "temperature": 0}
            reply = await http.post("/v1/chat/completions", json=body)
            assert reply.status_code == 200, reply.text
            return reply.json()["choices"][0]["message"]["content"]

        async with httpx.AsyncClient(base_url=server.url, timeout=90) as http:
            together = await asyncio.gather(*(answer(http, messages) for messages in bodies))
            assert together == [await answer(http, messages) for messages in bodies]
        assert "Paris" in together[1]
        assert len(set(together)) == 3

    asyncio.run(test())


def test_streamed(client):
    whole = ask(client, turn(4, "What is this?")).choices[0].message.content
    chunks = list(ask(client, turn(4, "What is this?"), stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == whole


def test_a_picture_for_a_model_that_does_not_see_is_refused_by_its_part(client):
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, turn("What is this?", 1), model="blind")
    assert caught.value.code == "wrong_model_type"
    assert caught.value.param == "messages.0.content.1"


def test_a_broken_picture_names_its_part_and_harms_nobody(client):
    broken = part(1)
    broken["image_url"]["url"] = broken["image_url"]["url"][:200]
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, {"role": "user", "content": [part(2), broken]})
    assert caught.value.code == "invalid_image"
    assert caught.value.param == "messages.0.content.1"
    assert ask(client, turn(2, "What is this?")).choices[0].message.content


def test_the_text_that_stands_for_a_picture_cant_be_typed(client):
    with pytest.raises(openai.BadRequestError, match="<image>"):
        ask(client, turn(1, "Describe <image> please."))


HARM = {
    "base64 that isn't": "data:image/png;base64,%%%",
    "nothing": "data:image/png;base64,",
    "no picture": data_url(b"hello", "image/png"),
    "a page": data_url(b"<html></html>", "text/html"),
    "a drawing": data_url(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"),
    "0 x 0": data_url(claimed_png(0, 0)),
    "20,000 x 20,000": data_url(claimed_png(20_000, 20_000)),
    "a bomb": data_url(claimed_png(7_000, 7_000)),
    "cut off": data_url(drawn("JPEG", 64, 64)[:-200]),
    "an animation": data_url(drawn("GIF", frames=3), "image/gif"),
    "a file": "file:///etc/passwd",
    "a URL": "http://127.0.0.1:1/picture.png",
}


@pytest.mark.parametrize("url", HARM.values(), ids=HARM)
def test_what_is_no_picture_is_refused_by_its_part(client, url):
    broken = {"type": "image_url", "image_url": {"url": url}}
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, {"role": "user", "content": [part(2), broken]})
    assert caught.value.param == "messages.0.content.1"


def test_too_many_pictures_are_refused(client):
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, {"role": "user", "content": [part(1)] * 21})
    assert caught.value.code == "too_many_images"


def test_the_engine_is_alive_after_all_that(server, client):
    assert ask(client, turn(2, "What is this?")).choices[0].message.content
    assert httpx.get(f"{server.url}/health").json()["engines"][MODEL][0]["restarts"] == 0
