"""Whoever means harm to the person with the browser: in answers, in names, on other sites, with a key that was revoked."""

import json
import shutil
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.e2e.admin_browser import NAME, check_accessible, fetch, go, picture, say
from tests.fakes.disk import write_llama

FORM = """<form id="form" method="post" enctype="text/plain" action="{url}">
<input name='{{"model": "org/stolen", "x": "' value='"}}'></form><script>document.getElementById("form").submit()</script>"""
FETCH = """async (url) => {
    const ask = (more) => fetch(url, { method: "POST", body: '{"model": "org/stolen"}', ...more }).then((answer) => answer.status, () => "refused");
    return [await ask({ mode: "no-cors", credentials: "include" }), await ask({}), await ask({ headers: { "content-type": "application/json" } })];
}"""


def test_nothing_of_an_answer_runs(page, admin):
    fetch(admin)
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


def test_nothing_of_a_folder_s_name_runs(page, admin, tmp_path):
    name = "<img src=x onerror='window.stolen = 1'><script>window.stolen = 1<script>"
    write_llama(admin.models / name)
    httpx.post(f"{admin.url}/admin/api/models/refresh")
    try:
        for each in page.get_by_role("navigation").get_by_role("link").all():
            each.click()
            expect(page.get_by_role("heading", level=1)).to_have_text(each.inner_text())
            expect(page.locator("main img, main script")).to_have_count(0)
        go(page, "Models")
        expect(page.get_by_role("region", name=name)).to_be_visible()
        assert page.evaluate("window.stolen") is None
    finally:
        shutil.rmtree(admin.models / name)


def test_with_a_password_and_keys(page, admin, browser, complaints):
    fetch(admin)
    go(page, "Access")
    expect(page.get_by_text("Everybody on this machine may administer the server")).to_be_visible()
    new_key = page.get_by_role("form", name="New API key")
    new_key.get_by_label("Name").fill("laptop")
    new_key.get_by_role("button", name="Make key").click()
    secret = page.get_by_role("status", name="The key laptop is made.").locator("pre").inner_text()
    ask = {"model": NAME, "max_tokens": 2, "messages": [{"role": "user", "content": "Hi"}]}

    def status(key):
        return httpx.post(f"{admin.url}/v1/chat/completions", json=ask, headers={"x-api-key": key}, timeout=60).status_code

    assert (status(secret), status("another")) == (200, 401)
    page.reload()
    laptop = page.get_by_role("region", name="laptop")
    expect(laptop.locator("div", has=page.get_by_text("Requests", exact=True)).get_by_role("definition").first).to_have_text("1")
    laptop.get_by_label("Requests a minute").fill("1")
    with page.expect_response("**/limits"):
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
    stranger.goto(f"{admin.url}/admin#/models")
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


def test_another_site_s_form_and_script_change_nothing(page, admin, browser):
    wish = f"{admin.url}/admin/api/hf/download"
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
        for task in httpx.get(f"{admin.url}/admin/api/hf/tasks").json()["tasks"]
        if "stolen" in task["repository"]
    ] == []


def test_a_name_that_was_pointed_here_shows_nothing(browser, admin):
    context = browser.new_context()
    rebound = context.new_page()
    address = admin.url.replace("127.0.0.1", "evil.example")
    assert rebound.goto(f"{address}/admin").status == 403
    expect(rebound.get_by_text("foreign_host")).to_be_visible()
    answers = rebound.evaluate("""() => Promise.all(["/admin/api/models", "/admin/api/session", "/admin/api/live", "/admin/static/app.js"].map(
        (path) => fetch(path).then((answer) => answer.status)))""")
    assert answers == [403] * 4
    assert rebound.evaluate(FETCH, f"{address}/admin/api/hf/download") == [403] * 3
    context.close()


def test_what_is_copied_for_a_shell_runs_nothing_of_a_model_s_name(page, tmp_path):
    name = f"it's $(touch {tmp_path}/stolen) `touch {tmp_path}/stolen`'; touch {tmp_path}/stolen; '"
    get = """async ([kind, name]) => (await import("/admin/static/snippets.js")).SNIPPETS[kind](name, "http://127.0.0.1:1", "none")"""

    def run(kind, instead):
        lines = f"{instead}\n{page.evaluate(get, [kind, name])}"
        return subprocess.run(["bash", "-c", lines], capture_output=True, text=True, check=True).stdout

    assert json.loads(run("curl", """curl() { printf '%s' "$5"; }"""))["model"] == name
    assert run("claude", """claude() { printf '%s' "$ANTHROPIC_MODEL"; }""") == name
    assert list(tmp_path.iterdir()) == []
