"""What tests of the admin page do in a browser."""

import json
import os
from pathlib import Path

import httpx
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

NAME = "SmolLM2-135M-Instruct"
REPO = f"org/{NAME}"
CARD = "# A small model\n\n<script>document.title = 'stolen'</script> <img src=x onerror=\"document.title = 'stolen'\">"
# Where the run keeps its pictures; in docs/images, they are the documents'.
PICTURES = Path(os.environ.get("OMLX_SCREENSHOTS") or Path(__file__).parents[2] / ".cache/screenshots")
# A name that its owner has pointed at this machine.
ARGUMENTS = ["--no-sandbox", "--host-resolver-rules=MAP evil.example 127.0.0.1"]

expect.set_options(timeout=30_000)


def picture(page, name):
    page.screenshot(path=PICTURES / f"admin-{name}.png")


def go(page, name):
    page.get_by_role("navigation").get_by_role("link", name=name).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)


def check_accessible(page):
    """No serious violation in either theme."""
    for theme in ("light", "dark"):
        page.get_by_label("Theme").select_option(theme)
        found = Axe().run(page).response["violations"]
        assert [each for each in found if each["impact"] in ("serious", "critical")] == []


def fetch(admin):
    """Have the model there, as the first test leaves it."""
    wished = httpx.post(f"{admin.url}/admin/api/hf/download", json={"model": REPO}).json()["id"]
    with httpx.stream("GET", f"{admin.url}/admin/api/hf/events", timeout=60) as answer:
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
