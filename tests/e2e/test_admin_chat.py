"""The chat on the admin page: what it shows of answers, and what it keeps."""

from playwright.sync_api import expect

from tests.e2e.admin_browser import check_accessible, fetch, go, say


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
