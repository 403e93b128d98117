"""A person with a browser: from no model to one that is loaded, without the command line."""

import json
import os
import shutil
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

from actors.errors import InvalidSettingError
from actors.settings import GLOBAL_SETTINGS, MODEL_SETTINGS, Form
from benchmarks.server import running_server
from tests.fakes.disk import write_llama
from tests.fakes.hub import fake_hub

NAME = "SmolLM2-135M-Instruct"
REPO = f"org/{NAME}"
CARD = "# A small model\n\n<script>document.title = 'stolen'</script> <img src=x onerror=\"document.title = 'stolen'\">"
PICTURES = os.environ.get("OMLX_SCREENSHOTS")  # a folder to keep them in, for the documents


# A name that its owner has pointed at this machine.
ARGUMENTS = ["--no-sandbox", "--host-resolver-rules=MAP evil.example 127.0.0.1"]

expect.set_options(timeout=30_000)


@pytest.fixture(scope="module")
def server(demo_models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("admin")
    files = {file.name: file.read_bytes() for file in (demo_models / NAME).iterdir() if not file.name.startswith(".")}
    with fake_hub() as hub:
        hub.add(REPO, {**files, "README.md": CARD.encode()}, library="mlx", downloads=1234, likes=56)
        options = ("--no-hf-cache", "--base-path", str(folder), "--hf-endpoint", hub.url)
        with running_server(folder / "models", *options) as running:
            yield SimpleNamespace(url=running.url, models=folder / "models")


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        yield found
        found.close()


@pytest.fixture
def complaints():
    return []


@pytest.fixture
def page(browser, server, complaints):
    """A page that must not complain, nor ask anybody else for anything."""
    context = browser.new_context(viewport={"width": 1000, "height": 800}, locale="en-US", color_scheme="light")
    page = context.new_page()
    page.set_default_timeout(30_000)
    page.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    own = urlsplit(server.url).netloc
    page.on("request", lambda request: complaints.append(request.url) if urlsplit(request.url).netloc != own else None)
    page.goto(f"{server.url}/admin")
    yield page
    assert complaints == []
    context.close()


def picture(page, name):
    if PICTURES:
        page.screenshot(path=Path(PICTURES) / f"admin-{name}.png")


def go(page, name):
    page.get_by_role("navigation").get_by_role("link", name=name).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)


def check_accessible(page):
    """No serious violation in either theme."""
    for theme in ("light", "dark"):
        page.get_by_label("Theme").select_option(theme)
        found = Axe().run(page).response["violations"]
        assert [each for each in found if each["impact"] in ("serious", "critical")] == []


def test_from_no_model_to_one_that_answers_and_is_unloaded(page, complaints, server):
    expect(page.get_by_text("There is no model yet.")).to_be_visible()
    go(page, "Download")
    page.get_by_label("Words of the model's name").fill("smol")
    page.get_by_role("button", name="Search", exact=True).click()
    page.get_by_role("button", name=f"Details {REPO}").click()
    expect(page.get_by_text("A small model")).to_be_visible()
    expect(page.get_by_role("region", name=REPO).get_by_role("definition").nth(1)).to_contain_text("fits")
    check_accessible(page)
    page.get_by_label("Theme").select_option("system")
    page.get_by_role("button", name=f"Download {REPO}").click()
    expect(page.get_by_text("done", exact=True)).to_be_visible()
    picture(page, "download")
    assert page.title() == "Download · oMLX"  # and not what the card's script says

    go(page, "Models")
    check_accessible(page)
    page.get_by_label("Theme").select_option("system")
    page.get_by_role("button", name=f"Load {NAME}").click()
    expect(page.get_by_text("Loading for 0:0")).to_be_visible()
    expect(page.get_by_text("ready", exact=True)).to_be_visible()
    picture(page, "models")

    go(page, "Chat")
    page.get_by_text("System prompt and sampling").click()
    page.get_by_label("Temperature").fill("0")
    page.get_by_label("Your message").fill("What is the capital of France?")
    page.get_by_role("button", name="Send").click()
    answer = page.get_by_role("article", name="Model")
    expect(answer).to_contain_text("The capital of France is Paris.")
    expect(answer).to_contain_text("tokens/s")
    check_accessible(page)
    page.get_by_label("Theme").select_option("system")
    picture(page, "chat")
    page.reload()
    expect(answer).to_contain_text("The capital of France is Paris.")

    go(page, "Settings")
    page.get_by_label("Settings of").select_option(NAME)
    page.get_by_label("model_alias", exact=True).fill("smol")
    page.get_by_role("button", name="Save model_alias").click()
    expect(page.get_by_role("status")).to_contain_text("model_alias is saved")
    check_accessible(page)
    page.get_by_label("Theme").select_option("system")
    picture(page, "settings")
    assert [model["id"] for model in httpx.get(f"{server.url}/v1/models").json()["data"]] == ["smol"]
    page.get_by_label("temperature", exact=True).fill("hot")
    expect(page.get_by_role("alert")).to_have_text("temperature takes a number from 0 to 2.")
    expect(page.get_by_role("button", name="Save temperature")).to_be_disabled()
    page.get_by_label("temperature", exact=True).fill("")
    page.get_by_label("Find a setting").fill("most tokens answer")
    page.get_by_label("max_tokens", exact=True).fill("2")
    page.get_by_role("button", name="Save max_tokens").click()
    expect(page.get_by_role("status")).to_contain_text("max_tokens is saved")
    expect(page.get_by_label("temperature", exact=True)).to_have_count(0)

    go(page, "Chat")
    page.get_by_role("button", name="Answer again").click()
    expect(answer).to_contain_text("tokens/s")
    expect(answer).not_to_contain_text("Paris")  # after two tokens

    go(page, "Status")
    card = page.get_by_role("region", name=NAME)
    expect(card.locator("div", has=page.get_by_text("Time to first token")).get_by_role("definition")).to_contain_text(" s")
    check_accessible(page)
    page.get_by_label("Theme").select_option("system")
    picture(page, "status")

    go(page, "Models")
    page.get_by_label("Alias", exact=True).fill("small")
    page.get_by_role("button", name=f"Save alias {NAME}").click()
    expect(page.get_by_role("heading", name=f"small ({NAME})")).to_be_visible()
    page.get_by_label("Find a model").fill("nothing like it")
    expect(page.get_by_role("region", name=NAME)).to_have_count(0)
    page.get_by_label("Find a model").fill("SMALL")
    page.get_by_role("button", name=f"Make default {NAME}").click()
    expect(page.get_by_text("default", exact=True)).to_be_visible()
    page.get_by_role("button", name=f"Unload {NAME}").click()
    expect(page.get_by_text("not loaded", exact=True)).to_be_visible()
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name=f"Delete {NAME}").click()
    expect(page.get_by_text("There is no model yet.")).to_be_visible()
    assert httpx.get(f"{server.url}/v1/models").json()["data"] == []


def test_in_chinese_on_a_phone_by_keyboard(page):
    page.set_viewport_size({"width": 360, "height": 700})
    page.get_by_label("Language").select_option("zh")
    expect(page.get_by_role("heading", level=1)).to_have_text("状态")
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    page.get_by_role("navigation").get_by_role("link", name="模型").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("模型")
    for link in page.get_by_role("navigation").get_by_role("link").all():
        link.click()
        expect(page.get_by_role("heading", level=1)).to_have_text(link.inner_text())
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), link.inner_text()
    page.get_by_role("navigation").get_by_role("link", name="模型").click()
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("模型")


def test_a_first_visit_is_small_and_usable_in_a_second(browser, server):
    seconds = []
    for _ in range(5):
        context = browser.new_context()  # which has nothing cached
        page = context.new_page()
        began = time.monotonic()
        page.goto(f"{server.url}/admin")
        expect(page.get_by_role("heading", level=2).first).to_be_visible()  # what the server says is shown
        seconds.append(time.monotonic() - began)
        sizes = page.evaluate("performance.getEntriesByType('resource').map((each) => each.encodedBodySize)")
        context.close()
        assert len(sizes) > 10
        assert sum(sizes) < 300_000
    assert min(seconds) < 1


def fetch(server):
    """Have the model there, as the first test leaves it."""
    wished = httpx.post(f"{server.url}/admin/api/hf/download", json={"model": REPO}).json()["id"]
    with httpx.stream("GET", f"{server.url}/admin/api/hf/events", timeout=60) as answer:
        news = (json.loads(line[6:])["tasks"] for line in answer.iter_lines() if line.startswith("data: "))
        next(tasks for tasks in news if any((each["id"], each["state"]) == (wished, "done") for each in tasks))


def say(page, *answers):
    """Have the page keep a conversation with these answers, and open it."""
    chat = {"id": "1", "messages": [{"role": "assistant", "content": answer} for answer in answers]}
    page.evaluate("chat => localStorage.setItem('omlx.chats', JSON.stringify([chat]))", chat)
    # Else the page, as it goes, keeps what it has shown.
    page.goto("about:blank")
    page.go_back()
    go(page, "Chat")


def test_nothing_of_an_answer_runs(page, server):
    fetch(server)
    text = (
        "<script>window.stolen = 1</script><img src=x onerror='window.stolen = 1'><a href='javascript:window.stolen = 1'>here</a>"
        "<svg onload='window.stolen = 1'></svg><iframe src='https://evil.example'></iframe>\n\n[link](javascript:alert(1)) `<b>code</b>`"
    )
    say(page, text)
    answer = page.get_by_role("article", name="Model")
    expect(answer).to_contain_text("<b>code</b>")
    assert answer.locator("script, img, svg, iframe").count() == 0
    assert [link.get_attribute("href") for link in answer.get_by_role("link").all()] == []
    answer.get_by_text("here").click()
    assert page.evaluate("window.stolen") is None
    page.evaluate("localStorage.clear()")


def test_nothing_of_a_folder_s_name_runs(page, server, tmp_path):
    name = "<img src=x onerror='window.stolen = 1'><script>window.stolen = 1<script>"
    write_llama(server.models / name)
    httpx.post(f"{server.url}/admin/api/models/refresh")
    try:
        for each in page.get_by_role("navigation").get_by_role("link").all():
            each.click()
            expect(page.get_by_role("heading", level=1)).to_have_text(each.inner_text())
            expect(page.locator("main img, main script")).to_have_count(0)
        go(page, "Models")
        expect(page.get_by_role("region", name=name)).to_be_visible()
        assert page.evaluate("window.stolen") is None
    finally:
        shutil.rmtree(server.models / name)


def test_with_a_password_and_keys(page, server, browser, complaints):
    fetch(server)
    go(page, "Access")
    expect(page.get_by_text("Everybody on this machine may administer the server")).to_be_visible()
    new_key = page.get_by_role("form", name="New API key")
    new_key.get_by_label("Name").fill("laptop")
    new_key.get_by_role("button", name="Make key").click()
    secret = page.get_by_role("status", name="The key laptop is made.").locator("pre").inner_text()
    ask = {"model": NAME, "max_tokens": 2, "messages": [{"role": "user", "content": "Hi"}]}

    def status(key):
        return httpx.post(f"{server.url}/v1/chat/completions", json=ask, headers={"x-api-key": key}, timeout=60).status_code

    assert (status(secret), status("another")) == (200, 401)
    page.reload()
    laptop = page.get_by_role("region", name="laptop")
    expect(laptop.locator("div", has=page.get_by_text("Requests", exact=True)).get_by_role("definition").first).to_have_text("1")
    laptop.get_by_label("Requests a minute").fill("1")
    laptop.get_by_role("button", name="Save limits").click()
    expect(laptop.get_by_role("button", name="Save limits")).to_be_disabled()
    assert [status(secret) for _ in range(2)] == [200, 429]

    page.get_by_label("New password").fill("correct horse")
    page.get_by_role("button", name="Set password").click()
    expect(page.get_by_text("The password is set.")).to_be_visible()
    check_accessible(page)
    page.get_by_label("Theme").select_option("system")
    picture(page, "access")

    stranger = browser.new_context().new_page()
    stranger.goto(f"{server.url}/admin#/models")
    expect(stranger.get_by_role("button", name="Sign in")).to_be_visible()
    assert Axe().run(stranger).response["violations"] == []
    assert stranger.get_by_text(NAME).count() == 0
    stranger.get_by_label("Password").fill("wrong horse")
    stranger.keyboard.press("Enter")
    expect(stranger.get_by_role("alert")).to_contain_text("neither the password nor")
    stranger.get_by_label("Password").fill("correct horse")
    stranger.keyboard.press("Enter")
    expect(stranger.get_by_role("heading", name=NAME)).to_be_visible()
    assert stranger.evaluate("document.cookie") == ""
    go(stranger, "Chat")
    stranger.get_by_label("Your message").fill("Hi")
    stranger.get_by_role("button", name="Send").click()
    expect(stranger.get_by_role("article", name="Model")).to_contain_text("tokens/s")

    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Revoke laptop").click()
    expect(laptop.get_by_text("revoked")).to_be_visible()
    assert status(secret) == 401
    page.get_by_role("button", name="Remove from list laptop").click()
    expect(laptop).to_have_count(0)
    page.get_by_label("Present password").fill("correct horse")
    page.get_by_role("button", name="Drop password").click()
    expect(page.get_by_text("The password is dropped.")).to_be_visible()
    stranger.context.close()
    assert status("another") == 200


def test_code_is_coloured_and_nothing_in_it_runs(page, server):
    fetch(server)
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


FORM = """<form id="form" method="post" enctype="text/plain" action="{url}">
<input name='{{"model": "org/stolen", "x": "' value='"}}'></form><script>document.getElementById("form").submit()</script>"""
FETCH = """async (url) => {
    const ask = (more) => fetch(url, { method: "POST", body: '{"model": "org/stolen"}', ...more }).then((answer) => answer.status, () => "refused");
    return [await ask({ mode: "no-cors", credentials: "include" }), await ask({}), await ask({ headers: { "content-type": "application/json" } })];
}"""


@contextmanager
def evil_site(page):
    """A page of somebody else, under a name that leads to this machine too."""

    class Site(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode() if self.path == "/" else b"quiet")

        def log_message(self, *_arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        yield f"http://evil.example:{site.server_port}/"
        site.shutdown()


def test_another_site_s_form_and_script_change_nothing(page, server, browser):
    wish = f"{server.url}/admin/api/hf/download"
    with evil_site(FORM.format(url=wish)) as site:
        visitor = page.context.new_page()  # in whose browser somebody is signed in
        with visitor.expect_response(wish) as posted:
            visitor.goto(site)
        assert posted.value.status == 403
        visitor.goto(f"{site}quiet")
        assert visitor.evaluate(FETCH, wish) == [0, "refused", "refused"]  # the first was sent, and its answer is hidden
        visitor.close()
    assert [
        task["repository"]
        for task in httpx.get(f"{server.url}/admin/api/hf/tasks").json()["tasks"]
        if "stolen" in task["repository"]
    ] == []


def test_a_name_that_was_pointed_here_shows_nothing(browser, server):
    context = browser.new_context()
    rebound = context.new_page()
    address = server.url.replace("127.0.0.1", "evil.example")
    assert rebound.goto(f"{address}/admin").status == 403
    expect(rebound.get_by_text("foreign_host")).to_be_visible()
    answers = rebound.evaluate("""() => Promise.all(["/admin/api/models", "/admin/api/session", "/admin/api/live", "/admin/static/app.js"].map(
        (path) => fetch(path).then((answer) => answer.status)))""")
    assert answers == [403] * 4
    assert rebound.evaluate(FETCH, f"{address}/admin/api/hf/download") == [403] * 3
    context.close()


TYPED = (
    "", " ", "0", "1", "-1", "2", "2.5", "1e3", "17", "true", "false", "null", "[]", '["a"]', '["a", 5]', '[""]', "{}", '{"a": 1}', "{", "text", "two words", "12GB",
    "512 MiB", "60%", "0%", "101%", "0GB", "-5GB", "0.5GB", "http://a", "https://a.example/b", "ftp://a", "http://", "http://u@a", "a/b", "/a", "a/", "a..b", ".a", "x" * 129,
    "debug", "llm", "[INST]", "99999999999", "65535", "65536",
)  # fmt: skip


def test_what_is_typed_for_a_setting_is_judged_as_the_server_does(page):
    judge = """async ([tables, typed]) => {
        const { isTaken, parsed } = await import("/admin/static/setting.js");
        return tables.map((setting) => typed.map((text) => [parsed(setting, text), isTaken(setting, text)]));
    }"""
    wrong = []
    for table, settings in (("global", GLOBAL_SETTINGS), ("model", MODEL_SETTINGS)):
        schema = page.evaluate("async () => (await fetch('/admin/api/settings/schema')).json()")[table]
        judged = page.evaluate(judge, [schema, list(TYPED)])
        for setting, found in zip(settings.values(), judged, strict=True):
            for text, (value, is_taken) in zip(TYPED, found, strict=True):
                if is_taken != takes(setting, value):
                    wrong.append((setting.name, text, is_taken))
    assert wrong == []


def takes(setting, value):
    """Whether the server takes a value; choices come from a list."""
    try:
        setting.check(value)
    except InvalidSettingError:
        return setting.form is Form.CHOICE
    return True


def test_reasoning_is_folded(page, server):
    fetch(server)
    say(
        page,
        "<think>\nFirst I think.\n</think>\n\nThen I say.",
        "So I thought.</think>And so I said.",
        "<think>Not yet done",
        "No thought.",
    )
    shown = [
        (each.locator("details pre").all_text_contents(), each.locator(".marked").inner_text().strip())
        for each in page.get_by_role("article").all()
    ]
    assert shown == [
        (["First I think."], "Then I say."),
        (["So I thought."], "And so I said."),
        (["Not yet done"], ""),
        ([], "No thought."),
    ]
    expect(page.get_by_text("First I think.")).to_be_hidden()
    page.get_by_text("Reasoning").first.click()
    expect(page.get_by_text("First I think.")).to_be_visible()


def test_conversations_are_kept_apart(page, server):
    fetch(server)
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
