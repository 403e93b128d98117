"""The chat on the admin page: what it shows of answers, and what it keeps."""

import json
import shutil
from base64 import b64encode

import httpx
from PIL import Image
from playwright.sync_api import expect

from tests.e2e.admin_browser import NAME, check_accessible, fetch, go, say
from tests.fakes.disk import write_llama


def test_code_is_coloured_and_nothing_in_it_runs(page, admin):
    fetch(admin)
    code = "def f(x):\n    return '<img src=x onerror=alert(1)>'"
    dressed = '<p class="alert">plain</p> <code class="hljs-deletion">plain</code>'
    say(page, f"```python\n{code}\n```\n\n```nothing\nplain\n```\n\n{dressed}", f"```\n{code}\n```")
    first, second = page.get_by_role("article", name="Model").all()
    expect(first.locator(".hljs-keyword").first).to_have_text("def")
    assert first.locator("pre").first.inner_text().strip() == code
    assert first.locator("img, .alert, .hljs-deletion").count() == 0
    assert second.locator("[class^=hljs]").count() == 0
    assert second.locator("pre").inner_text().strip() == code
    check_accessible(page)


def test_reasoning_is_folded(page, admin):
    fetch(admin)
    deltas = (
        {"role": "assistant", "content": ""},
        {"reasoning_content": "First I "},
        {"reasoning_content": "think."},
        {"content": "Then I say."},
    )
    chunks = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    chunks.append({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 6}})
    stream = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
    page.route("**/v1/chat/completions", lambda route: route.fulfill(body=stream, content_type="text/event-stream"))
    go(page, "Chat")
    page.get_by_label("Your message").fill("Hi")
    page.get_by_role("button", name="Send").click()
    answer = page.get_by_role("article", name="Model")
    expect(answer.locator(".marked")).to_have_text("Then I say.")
    expect(answer).to_contain_text("0 of 5 prompt tokens cached")
    expect(page.get_by_text("First I think.")).to_be_hidden()
    page.get_by_text("Reasoning").click()
    expect(page.get_by_text("First I think.")).to_be_visible()


def test_conversations_are_kept_apart(page, admin):
    fetch(admin)
    go(page, "Chat")
    answer = page.get_by_role("article", name="Model")
    page.get_by_text("System prompt and sampling").click()
    for question in ("Say one", "Say two"):
        page.get_by_label("Most tokens").fill("3")
        page.get_by_label("Your message").fill(question)
        page.get_by_label("Your message").press("Enter")
        expect(answer).to_contain_text("tokens/s")
        page.get_by_role("button", name="New chat").click()
        expect(answer).to_have_count(0)
    page.get_by_label("Conversations").select_option(label="Say one")
    expect(page.get_by_role("article", name="You")).to_contain_text("Say one")
    page.reload()
    expect(page.get_by_role("article", name="You")).to_contain_text("Say one")
    page.get_by_role("button", name="Delete chat").click()
    expect(page.get_by_label("Conversations").get_by_role("option", name="Say one")).to_have_count(0)
    expect(page.get_by_label("Conversations").get_by_role("option", name="Say two")).to_have_count(1)


def test_pictures_go_to_a_model_that_sees(page, admin, tmp_path):
    write_llama(admin.models / "seer")
    httpx.post(f"{admin.url}/admin/api/models/refresh")
    settings = f"{admin.url}/admin/api/models/seer/settings"
    revision = httpx.get(settings).json()["revision"]
    assert httpx.patch(settings, json={"revision": revision, "model_type_override": "vlm"}).status_code == 200
    try:
        fetch(admin)
        asked = []
        page.route(
            "**/v1/chat/completions",
            lambda route: (asked.append(route.request.post_data_json), route.fulfill(body="data: [DONE]\n\n")),
        )
        go(page, "Chat")
        page.get_by_label("Model", exact=True).select_option(NAME)
        expect(page.get_by_label("Pictures")).to_have_count(0)
        page.get_by_label("Model", exact=True).select_option("seer")
        file = tmp_path / "red.png"
        Image.new("RGB", (8, 8), "red").save(file)
        page.get_by_label("Pictures").set_input_files(file)
        page.get_by_label("Your message").fill("What is it?")
        page.get_by_role("button", name="Send").click()
        expect(page.get_by_role("img", name="A picture that was sent")).to_be_visible()
        (message,) = asked[0]["messages"]
        picture, text = message["content"]
        assert (asked[0]["model"], text) == ("seer", {"type": "text", "text": "What is it?"})
        assert picture["image_url"]["url"] == f"data:image/png;base64,{b64encode(file.read_bytes()).decode()}"
    finally:
        shutil.rmtree(admin.models / "seer")
