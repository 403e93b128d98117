"""Pictures of a conversation reach the engine in order, or the part that is wrong is named and nothing does."""

import asyncio

import pytest

from actors.contracts import Image
from actors.control import ImageRules
from actors.models import ModelType
from omlx.api.image_error import ImageError
from omlx.api.image_fetch import ImageFetcher
from omlx.api.images import ALL_BYTES, ImageReader
from omlx.app import create_app
from tests.fakes.catalog import served
from tests.fakes.http import events, post, send
from tests.fakes.pictures import claimed_png, data_url, picture
from tests.fakes.services import FakeServices

PATH = "/v1/chat/completions"
PNG, JPEG, GIF = (picture(kind) for kind in ("PNG", "JPEG", "GIF"))
BY_URL = ImageRules(allow_image_urls=True)


class Web:
    """Pictures by URL, or the errors of fetching them, that all come once as many are asked for as there are."""

    def __init__(self, pages, together=1):
        self._pages = pages
        self._together = together
        self.asked = []
        self._all = asyncio.Event()

    async def fetch(self, url, take):
        self.asked.append(url)
        if len(self.asked) == self._together:
            self._all.set()
        await self._all.wait()
        page = self._pages[url]
        if isinstance(page, Exception):
            raise page
        take(len(page))
        return page


def part(data, kind="image/png"):
    return {"type": "image_url", "image_url": {"url": data if isinstance(data, str) else data_url(data, kind)}}


def text(words):
    return {"type": "text", "text": words}


def user(*parts):
    return {"role": "user", "content": list(parts)}


def seeing(type_=ModelType.VLM, rules=None, **options):
    return FakeServices(models=(served("eye", type_, image_rules=rules or ImageRules()),), **options)


def ask(services, *messages, fetch=None, **fields):
    app = create_app(services, images=ImageReader(fetch))
    return send(app, PATH, {"model": "eye", "messages": list(messages), **fields})


def prompt(*messages, **options):
    services = seeing(**options)
    answer = ask(services, *messages)
    assert answer.status == 200, answer.json
    return services.jobs[0].prompt


def refusal(*messages, rules=None, type_=ModelType.VLM, fetch=None):
    services = seeing(type_, rules)
    answer = ask(services, *messages, fetch=fetch)
    assert answer.status == 400, answer.json
    assert services.jobs == []
    error = answer.json["error"]
    assert error["type"] == "invalid_request_error"
    assert f"'{error['param']}'" in error["message"]
    return error


@pytest.mark.parametrize("type_", [ModelType.VLM, ModelType.OCR])
def test_pictures_come_in_order_over_several_turns(type_):
    asked = prompt(
        {"role": "system", "content": [text("Look."), part(GIF)]},
        user(part(PNG), text("What is it?"), part(JPEG, "image/jpeg")),
        {"role": "assistant", "content": "A cat."},
        user(text("Be"), text("sure?")),
        {"role": "tool", "content": [part(PNG)], "tool_call_id": "1"},
        type_=type_,
    )
    picture_part = {"type": "image"}
    assert asked.messages == (
        {"role": "system", "content": [text("Look."), picture_part]},
        {"role": "user", "content": [picture_part, text("What is it?"), picture_part]},
        {"role": "assistant", "content": "A cat."},
        {"role": "user", "content": "Be\nsure?"},
        {"role": "tool", "content": [picture_part], "tool_call_id": "1"},
    )
    assert asked.images == (
        Image(GIF, "messages.0.content.1"),
        Image(PNG, "messages.1.content.0"),
        Image(JPEG, "messages.1.content.2"),
        Image(PNG, "messages.4.content.0"),
    )


URL = data_url(PNG)


@pytest.mark.parametrize(
    "form",
    [
        {"type": "image_url", "image_url": {"url": URL}},
        {"type": "image_url", "image_url": {"url": URL, "detail": "high"}},
        {"type": "image_url", "image_url": {"url": URL, "detail": None, "unknown": 1}, "text": 5},
        {"type": "image_url", "image_url": URL},
        {"type": "input_image", "image_url": URL, "detail": "auto"},
        {"type": "input_image", "image_url": {"url": URL}},
        {"type": "image", "image": URL},
        {"type": "image", "image": {"url": URL}},
        {"type": "image", "url": URL},
    ],
)
def test_every_form_that_clients_send_is_taken(form):
    asked = prompt(user({"type": "input_text", "text": "See"}, form))
    assert asked.messages == ({"role": "user", "content": [text("See"), {"type": "image"}]},)
    assert asked.images == (Image(PNG, "messages.0.content.1"),)


def test_texts_are_as_they_always_were():
    for type_ in ModelType.LLM, ModelType.VLM:
        asked = prompt(user(text("a") | {"image_url": 5, "image": URL}, text("b")), {"role": "user", "content": "c"}, type_=type_)
        assert asked.messages == ({"role": "user", "content": "a\nb"}, {"role": "user", "content": "c"})
        assert asked.images == ()


def test_a_stream_takes_pictures_too():
    services = seeing()
    answer = ask(services, user(part(PNG)), stream=True)
    assert events(answer.body)[-1] == "[DONE]"
    assert services.jobs[0].prompt.images == (Image(PNG, "messages.0.content.0"),)
    refused = ask(seeing(), user(part(b"no")), stream=True)
    assert (refused.status, refused.json["error"]["param"]) == (400, "messages.0.content.0")


def test_a_text_model_takes_none():
    error = refusal({"role": "user", "content": "Hi"}, user(text("See"), part("http://a.test/")), type_=ModelType.LLM)
    assert error["message"] == (
        "The picture at 'messages.1.content.1' can't be answered: 'eye' takes text only (it is of the type 'llm')."
    )
    assert (error["param"], error["code"]) == ("messages.1.content.1", "wrong_model_type")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"no picture", "invalid_image"),
        (JPEG[:-60], "invalid_image"),
        (b"", "invalid_image"),
        (picture("GIF", 16, 16, frames=2), "invalid_image"),
        ("data:image/png;base64,@@@@", "invalid_image"),
        ("data:text/plain;base64,AAAA", "invalid_image"),
        (claimed_png(20_000, 20_000), "image_too_large"),
        (claimed_png(0, 0), "invalid_image"),
        ("http://pictures.test/a.png", "invalid_image_url"),
        ("ftp://pictures.test/a.png", "invalid_image_url"),
        ("", "invalid_image_url"),
        ("\ud83d\ude00", "invalid_image_url"),
    ],
)
def test_a_picture_that_is_none_is_refused_by_its_part(data, code):
    error = refusal(user(part(PNG)), user(text("And"), part(data)))
    assert (error["param"], error["code"]) == ("messages.1.content.1", code)


def test_pixels_are_bounded():
    error = refusal(user(part(PNG)), rules=ImageRules(max_image_pixels=47))
    assert error["code"] == "image_too_large"
    assert "8 x 6 are 48 pixels, and at most 47 are taken" in error["message"]
    assert prompt(user(part(PNG)), rules=ImageRules(max_image_pixels=48)).images


def test_the_bytes_of_each_are_bounded():
    error = refusal(user(part(PNG)), rules=ImageRules(max_image_bytes=len(PNG) - 1))
    assert (error["code"], f"at most {len(PNG) - 1} bytes" in error["message"]) == ("image_too_large", True)
    assert prompt(user(part(PNG)), rules=ImageRules(max_image_bytes=len(PNG))).images


def test_the_number_is_bounded_over_all_messages():
    messages = user(part(PNG), part(PNG)), user(text("a"), part(PNG))
    error = refusal(*messages, rules=ImageRules(max_images_per_request=2))
    assert (error["param"], error["code"]) == ("messages.1.content.1", "too_many_images")
    assert "a request may have 2" in error["message"]
    assert len(prompt(*messages, rules=ImageRules(max_images_per_request=3)).images) == 3
    assert refusal(user(part(PNG)), rules=ImageRules(max_images_per_request=0))["code"] == "too_many_images"


def test_several_are_fetched_at_the_same_time_and_stay_in_order():
    web = Web({"http://a.test/": PNG, "https://b.test/": JPEG}, together=2)
    services = seeing(rules=BY_URL)
    assert ask(services, user(part("http://a.test/"), part(GIF), part("https://b.test/")), fetch=web.fetch).status == 200
    assert services.jobs[0].prompt.images == tuple(
        Image(data, f"messages.0.content.{place}") for place, data in enumerate((PNG, GIF, JPEG))
    )


def test_nothing_is_fetched_unless_allowed():
    web = Web({"http://a.test/": PNG})
    error = refusal(user(part("http://a.test/")), fetch=web.fetch)
    assert error["code"] == "invalid_image_url"
    assert "'allow_image_urls'" in error["message"]
    assert web.asked == []


def test_what_is_fetched_is_checked_like_what_is_sent():
    web = Web({"http://a.test/": b"no picture"})
    assert refusal(user(part("http://a.test/")), rules=BY_URL, fetch=web.fetch)["code"] == "invalid_image"
    large = ImageRules(allow_image_urls=True, max_image_bytes=5)
    error = refusal(user(part("http://a.test/")), rules=large, fetch=Web({"http://a.test/": PNG}).fetch)
    assert (error["code"], "at most 5 bytes" in error["message"]) == ("image_too_large", True)


def test_the_bytes_of_all_together_are_bounded():
    half = PNG + bytes(ALL_BYTES // 2 - len(PNG))
    urls = [f"http://{name}.test/" for name in "abc"]
    rules = ImageRules(allow_image_urls=True, max_image_bytes=ALL_BYTES)
    error = refusal(user(*map(part, urls)), rules=rules, fetch=Web(dict.fromkeys(urls, half), together=3).fetch)
    assert error["code"] == "image_too_large"
    assert f"together may have {ALL_BYTES} bytes" in error["message"]


def test_one_that_fails_ends_the_fetching_of_the_others():
    ended = []

    class Slow(Web):
        async def fetch(self, url, take):
            if url == "http://bad.test/":
                raise ImageError("could not be fetched.", code="invalid_image_url")
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(url)

    async def run():
        app = create_app(seeing(rules=BY_URL), images=ImageReader(Slow({}).fetch))
        messages = [user(part("http://slow.test/"), part("http://bad.test/"))]
        return await post(app, PATH, {"model": "eye", "messages": messages}).run()

    answer = asyncio.run(run())
    assert answer.json["error"]["param"] == "messages.0.content.1"
    assert ended == ["http://slow.test/"]


def test_a_client_that_leaves_ends_the_fetching():
    ended = []

    class Slow(Web):
        async def fetch(self, url, take):
            call.leave()
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(url)

    async def run():
        nonlocal call
        app = create_app(seeing(rules=BY_URL), images=ImageReader(Slow({}).fetch))
        call = post(app, PATH, {"model": "eye", "messages": [user(part("http://slow.test/"))]})
        return await call.run()

    call = None
    assert asyncio.run(run()).status == 499
    assert ended == ["http://slow.test/"]


def test_a_private_address_is_refused_by_its_part():
    async def inner(host, port):
        return ["10.0.0.1"]

    error = refusal(user(part("http://inner.test/a.png")), rules=BY_URL, fetch=ImageFetcher(resolve=inner).fetch)
    assert error["message"] == "The picture at 'messages.0.content.0' is not fetched: its host has a private or reserved address."
    assert error["code"] == "invalid_image_url"
