"""A person with a browser: from no model to one that is loaded, without the command line."""

import json
import re
import time
from pathlib import Path

import httpx
from playwright.sync_api import expect

from actors.errors import InvalidSettingError
from actors.settings import GLOBAL_SETTINGS, MODEL_SETTINGS, Form
from tests.e2e.admin_browser import NAME, REPO, check_accessible, fetch, go, picture
from tests.fakes.downloads import REPO as TINY
from tests.fakes.downloads import model_files

TYPED = (
    "", " ", "0", "1", "-1", "2", "2.5", "1e3", "17", "true", "false", "null", "[]", '["a"]', '["a", 5]', '[""]', "{}", '{"a": 1}', "{", "text", "two words", "12GB",
    "512 MiB", "60%", "0%", "101%", "0GB", "-5GB", "0.5GB", "http://a", "https://a.example/b", "ftp://a", "http://", "http://u@a", "a/b", "/a", "a/", "a..b", ".a", "x" * 129,
    "debug", "llm", "[INST]", "99999999999", "65535", "65536",
)  # fmt: skip


def test_from_no_model_to_one_that_answers_and_is_unloaded(page, complaints, admin):
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
    assert [model["id"] for model in httpx.get(f"{admin.url}/v1/models").json()["data"]] == ["smol"]
    page.get_by_label("temperature", exact=True).fill("hot")
    expect(page.get_by_role("alert")).to_have_text("temperature takes a number from 0 to 2.")
    expect(page.get_by_role("button", name="Save temperature")).to_be_disabled()
    page.get_by_label("temperature", exact=True).fill("")
    page.get_by_label("Find a setting").fill("most tokens answer")
    page.get_by_label("max_tokens", exact=True).fill("2")
    set_meanwhile(f"{admin.url}/admin/api/models/{NAME}/settings", "max_tokens", 7)
    page.get_by_role("button", name="Save max_tokens").click()
    expect(page.get_by_role("alert")).to_contain_text("have changed")
    expect(page.get_by_label("max_tokens", exact=True)).to_have_value("7")  # and not what was typed
    complaints.clear()  # a browser notes every 409
    page.get_by_label("max_tokens", exact=True).fill("2")
    page.get_by_role("button", name="Save max_tokens").click()
    expect(page.get_by_role("status")).to_contain_text("max_tokens is saved")
    expect(page.get_by_label("temperature", exact=True)).to_have_count(0)

    go(page, "Chat")
    page.get_by_role("button", name="Answer again").click()
    expect(answer).to_contain_text("tokens/s")
    expect(answer).not_to_contain_text("Paris")  # after two tokens

    go(page, "Status")
    assert page.evaluate("scrollY") == 0  # though the page before was scrolled
    card = page.get_by_role("region", name=NAME)
    expect(card.locator("div", has=page.get_by_text("Time to first token")).get_by_role("definition")).to_contain_text(" s")
    expect(card.locator("div", has=page.get_by_text("Batch")).get_by_role("definition")).to_have_text("0 of 8")
    expect(card.locator("div", has=page.get_by_text("Ready for")).get_by_role("definition")).to_contain_text(":")
    expect(card.get_by_role("img")).to_have_count(4)
    problems = page.get_by_role("region", name="Latest warnings and errors")
    expect(problems).to_contain_text("there is no model yet")
    check_accessible(page)
    page.get_by_label("Theme").select_option("system")
    picture(page, "status")
    problems.get_by_role("link", name="Logs").click()
    expect(page.get_by_label("Level")).to_have_value("warning")

    measure(page, admin)

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
    assert httpx.get(f"{admin.url}/v1/models").json()["data"] == []


def set_meanwhile(path, setting, value):
    """Somebody else changes a setting."""
    changed = httpx.patch(path, json={"revision": httpx.get(path).json()["revision"], setting: value})
    assert changed.status_code == 200


def measure(page, admin):
    """One click measures a model, and the run is kept."""
    go(page, "Benchmark")
    for name, on in (("512", False), ("4", False), ("2", True)):
        page.get_by_role("checkbox", name=name, exact=True).set_checked(on)
    page.get_by_role("button", name="Measure").click()
    expect(page.get_by_role("progressbar")).to_be_visible()
    runs = page.get_by_role("region", name="Runs")
    expect(runs.get_by_text("done", exact=True)).to_be_visible(timeout=120_000)
    rows = page.get_by_role("table").locator("tbody tr").all()
    assert [row.get_by_role("cell").first.inner_text() for row in rows] == ["1", "2"]
    assert all(float(cell.inner_text().replace(",", "")) > 0 for row in rows for cell in row.get_by_role("cell").all())
    expect(page.get_by_role("img", name="Reading prompts")).to_have_accessible_name(
        re.compile("1 at once, new prompt: 128: [0-9]")
    )
    with page.expect_download() as exported:
        runs.get_by_role("link", name="Export JSON").click()
    (run,) = httpx.get(f"{admin.url}/admin/api/benchmarks").json()["runs"]
    whole = httpx.get(f"{admin.url}/admin/api/benchmarks/{run['id']}").json()
    assert json.loads(Path(exported.value.path()).read_text()) == whole
    assert (whole["model"]["id"], whole["plan"]["batches"]) == (NAME, [1, 2])
    assert all(cell["figures"]["cached_tokens"] > 0.8 * 128 for cell in whole["cells"])
    check_accessible(page)
    page.get_by_label("Theme").select_option("system")
    page.set_viewport_size({"width": 1000, "height": 1000})
    page.evaluate("scrollTo(0, 0)")
    picture(page, "benchmark")

    page.get_by_role("button", name="Measure").click()
    page.get_by_role("button", name="Cancel").click()
    expect(runs.get_by_text("cancelled", exact=True)).to_be_visible()
    page.on("dialog", lambda dialog: dialog.accept())
    runs.get_by_role("button", name="Delete").first.click()
    expect(runs.get_by_text("cancelled", exact=True)).not_to_be_visible()
    page.set_viewport_size({"width": 360, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.set_viewport_size({"width": 1000, "height": 800})


def test_a_download_rests_goes_on_and_is_given_up(page, admin):
    admin.hub.add(TINY, model_files(), library="mlx")
    set_meanwhile(f"{admin.url}/admin/api/settings", "max_download_speed", 20_000)  # of 400 kB
    go(page, "Download")
    page.get_by_label("Words of the model's name").fill("tiny")
    page.get_by_role("button", name="Search", exact=True).click()
    page.get_by_role("button", name=f"Download {TINY}").click()
    downloads = page.get_by_role("region", name="Downloads")
    bar = page.get_by_role("progressbar", name=TINY)
    expect(bar).to_be_visible()
    page.get_by_role("button", name=f"Pause {TINY}").click()
    expect(downloads.get_by_text("paused", exact=True)).to_be_visible()
    page.get_by_role("button", name=f"Go on {TINY}").click()
    expect(downloads.get_by_text("downloading", exact=True)).to_be_visible()
    page.get_by_role("button", name=f"Cancel {TINY}").click()
    expect(downloads.get_by_text("cancelled", exact=True)).to_be_visible()
    page.get_by_role("button", name=f"Remove from list {TINY}").click()
    expect(page.get_by_role("button", name=f"Remove from list {TINY}")).to_have_count(0)
    assert not (admin.models / TINY.partition("/")[2]).exists()
    set_meanwhile(f"{admin.url}/admin/api/settings", "max_download_speed", None)
    page.get_by_label("Source").select_option("ModelScope")
    expect(page.get_by_role("link", name="Another endpoint, or a mirror")).to_have_attribute("href", "#/settings?ms_endpoint")
    page.get_by_role("link", name="Another endpoint, or a mirror").click()
    expect(page.get_by_label("ms_endpoint", exact=True)).to_be_visible()


def test_code_of_a_model_is_trusted_by_who_has_read_what_that_means(page, admin):
    fetch(admin)
    said = []
    page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss() if len(said) == 1 else dialog.accept()))
    go(page, "Settings")
    page.get_by_label("Settings of").select_option(NAME)
    page.get_by_label("Find a setting").fill("trust_remote_code")
    trusted = page.get_by_label("trust_remote_code", exact=True)
    path = f"{admin.url}/admin/api/models/{NAME}/settings"
    for is_trusted in (None, True):
        trusted.select_option("true")
        page.get_by_role("button", name="Save trust_remote_code").click()
        expect(page.get_by_role("button", name="Save trust_remote_code")).to_be_enabled(enabled=not is_trusted)
        assert httpx.get(path).json()["trust_remote_code"] is is_trusted
    assert "can do anything that you can" in said[0]
    assert len(said) == 2


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


def test_a_first_visit_is_small_and_usable_in_a_second(browser, admin):
    seconds = []
    for _ in range(5):
        context = browser.new_context()  # which has nothing cached
        page = context.new_page()
        began = time.monotonic()
        page.goto(f"{admin.url}/admin")
        expect(page.get_by_role("heading", level=2).first).to_be_visible()  # what the server says is shown
        seconds.append(time.monotonic() - began)
        sizes = page.evaluate("performance.getEntriesByType('resource').map((each) => each.encodedBodySize)")
        context.close()
        assert len(sizes) > 10
        assert sum(sizes) < 300_000
    assert min(seconds) < 1


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


def test_logs_are_followed_chosen_and_paused(page, admin):
    def ask(request_id):
        body = {"model": "nobody", "messages": [{"role": "user", "content": "Hello!"}]}
        httpx.post(f"{admin.url}/v1/chat/completions", json=body, headers={"x-request-id": request_id})

    go(page, "Logs")
    log = page.get_by_role("log")
    expect(log).to_contain_text("starting")
    ask("order-1")
    line = log.locator(".line", has_text="order-1")
    expect(line).to_contain_text("404")
    expect(line).to_contain_text("Info")
    expect(line).to_be_in_viewport()
    check_accessible(page)
    page.get_by_label("Theme").select_option("system")
    picture(page, "logs")

    page.get_by_label("Level").select_option("warning")
    expect(log).not_to_contain_text("starting")
    expect(line).to_have_count(0)
    page.get_by_label("Level").select_option("info")
    expect(line).to_be_visible()
    page.get_by_label("Source").select_option("catalog")
    expect(line).to_have_count(0)
    page.get_by_label("Source").select_option("server")
    page.get_by_label("Only lines with").fill("ORDER-")
    expect(log.locator(".line")).to_have_count(1)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("status")).to_have_text("Copied")
    assert "INFO server order-1 POST /v1/chat/completions 404" in page.evaluate("navigator.clipboard.readText()")

    page.get_by_role("button", name="Pause").press("Enter")
    expect(page.get_by_text("Paused. Lines: 1")).to_be_visible()
    ask("order-2")
    expect(log.locator(".line")).to_have_count(1)
    page.get_by_role("button", name="Follow").press("Enter")
    expect(log.locator(".line")).to_have_count(2)
    page.set_viewport_size({"width": 360, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
