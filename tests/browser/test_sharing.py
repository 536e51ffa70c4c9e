"""Sharing as people do it: make a link, open it elsewhere, lose it when it is revoked, go on in a copy of one's own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from chatserver.clock import new_id, now_us
from chatserver.domain.access import Account, Actor
from chatserver.domain.messages import Message, ReasoningPart, TextPart
from chatserver.store.messages import insert_message
from chatserver.testing.server import PASSWORD
from tests.browser.gallery import ANSWER
from tests.browser.stage import Site, ask_and_wait, replies
from tests.browser.test_access import assert_clean
from tests.browser.test_hostile import ATTACKS, CORPUS, FIND_BAD

pytestmark = pytest.mark.browser

Visit = Callable[..., Page]
Shoot = Callable[[Page, str], None]


@pytest.fixture
def stranger(browser: Browser, site: Site) -> Iterator[Callable[..., Page]]:
    """`stranger(url, width=390, scheme="dark", script=False)`: a private window, nobody signed in."""
    contexts = []

    def open_page(url: str, *, width: int = 1440, scheme: str = "light", script: bool = True) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 844 if width < 800 else 900},
            color_scheme=scheme,  # type: ignore[arg-type]
            java_script_enabled=script,
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()


def make_link(page: Page, *, tree: bool = False) -> str:
    """By the menu of the chat; the dialog stays open."""
    page.get_by_label("More about this chat").click()
    page.get_by_role("button", name="Share", exact=True).click()
    dialog = page.get_by_role("dialog")
    if tree:
        dialog.get_by_label("The whole tree").check()
    dialog.get_by_role("button", name="Create link").click()
    return dialog.get_by_label("Link", exact=True).input_value()


def edit_last_question(page: Page, text: str) -> None:
    replies(page).nth(-2).get_by_role("button", name="Edit", exact=True).click()
    page.get_by_role("textbox", name="Edit message").fill(text)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("2/2")).to_be_visible()
    expect(replies(page).last).to_have_attribute("data-state", "done")


def test_a_link_is_made_read_and_revoked_while_it_is_open(
    visit: Visit, stranger: Visit, site: Site, shoot: Shoot
) -> None:
    page = visit()
    site.actor.answers["Which layout?"] = ANSWER
    ask_and_wait(page, "Which layout?")
    ask_and_wait(page, "A private question")
    edit_last_question(page, "A public question")
    url = make_link(page)
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Copy link").click()
    expect(page.locator("#live")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == url
    shoot(page, "share-dialog")
    assert_clean(page)

    reader = stranger(url)
    expect(replies(reader)).to_have_count(4)
    expect(replies(reader).nth(2)).to_contain_text("A public question")
    assert "private" not in reader.content().lower() and "example.org" not in reader.content()
    expect(reader.get_by_role("link", name="Sign in to continue").first).to_be_visible()

    dialog.get_by_role("button", name=re.compile("^Revoke")).click()
    expect(reader.get_by_role("heading", name="This chat is not shared any more")).to_be_visible(timeout=5_000)
    expect(replies(reader)).to_have_count(0)
    reader.reload()
    expect(reader.get_by_text("This link opens nothing")).to_be_visible()
    expect(dialog.get_by_role("button", name=re.compile("^Revoke"))).to_have_count(0)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 390)])
def test_the_shared_page_is_clean_to_axe(
    visit: Visit, stranger: Visit, site: Site, shoot: Shoot, scheme: str, width: int
) -> None:
    page = visit("/", scheme=scheme, width=width)
    site.actor.answers["Which layout?"] = ANSWER
    ask_and_wait(page, "Which layout?")
    edit_last_question(page, "Which other layout?")
    page.get_by_label("More about this chat").click()
    page.get_by_role("button", name="Share", exact=True).click()
    expect(page.get_by_role("button", name="Create link")).to_be_visible()
    assert_clean(page)
    shoot(page, f"share-{scheme}-{width}")
    page.keyboard.press("Escape")
    url = make_link(page, tree=True)
    reader = stranger(url, scheme=scheme, width=width)
    expect(reader.get_by_text("2/2")).to_be_visible()
    assert_clean(reader)
    shoot(reader, f"shared-{scheme}-{width}")
    assert reader.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.goto(site.url + "/shares")
    assert_clean(page)
    shoot(page, f"shares-{scheme}-{width}")


def test_without_a_script_a_link_is_made_and_its_versions_are_read(visit: Visit, stranger: Visit, site: Site) -> None:
    page = visit()
    ask_and_wait(page, "The first version")
    edit_last_question(page, "The second version")
    plain = visit(f"/c/{page.url.split('/')[-2]}/share", script=False)
    plain.get_by_label("The whole tree").check()
    plain.get_by_role("button", name="Create link").click()
    reader = stranger(plain.get_by_label("Link", exact=True).input_value(), script=False)
    expect(replies(reader).first).to_contain_text("The second version")
    reader.get_by_role("link", name="Previous version").click()
    expect(replies(reader).first).to_contain_text("The first version")
    expect(reader.get_by_text("1/2")).to_be_visible()
    plain.get_by_role("link", name="All shared links").click()
    plain.get_by_role("button", name=re.compile("^Revoke")).click()
    expect(plain.get_by_text("You share nothing")).to_be_visible()


def test_a_reader_signs_in_and_goes_on_in_a_copy(visit: Visit, stranger: Visit, site: Site, account: Account) -> None:
    page = visit()
    ask_and_wait(page, "Where shall we go?")
    url = make_link(page)
    email = f"reader-{account.email}"
    site.call(lambda: site.house.accounts.create(email, name="Bob", secret=PASSWORD))
    reader = stranger(url)
    reader.get_by_role("link", name="Sign in to continue").first.click()
    reader.get_by_role("textbox", name="Email").fill(email)
    reader.get_by_role("textbox", name="Password").fill(PASSWORD)
    reader.get_by_role("button", name="Sign in").click()
    expect(reader).to_have_url(url)
    reader.get_by_role("button", name="Continue as my own copy").first.click()
    expect(reader).to_have_url(re.compile("/c/"))
    expect(replies(reader)).to_have_count(2)
    ask_and_wait(reader, "To the sea")
    expect(replies(reader)).to_have_count(4)
    page.reload()
    expect(replies(page)).to_have_count(2)


def test_hostile_words_are_text_on_a_shared_page_and_in_a_file(
    visit: Visit, stranger: Visit, site: Site, account: Account, tmp_path: Path
) -> None:
    """The whole corpus as questions and answers, title and all; nothing runs, nothing asks a foreign host."""
    actor = Actor(account, "web")

    async def furnish() -> tuple[str, str]:
        conversation = (await site.house.conversations.create(actor, ATTACKS[0])).id
        tip: list[str | None] = [None]

        def store(tx: Any) -> None:
            for start in range(0, len(CORPUS), 60):
                text = "\n\n".join(CORPUS[start : start + 60])
                for role in ("user", "assistant"):
                    parts = (ReasoningPart(text[:2000]), TextPart(text)) if role == "assistant" else (TextPart(text),)
                    message = Message(new_id(), conversation, tip[0], role, "done", parts, ATTACKS[1], now_us())  # type: ignore[arg-type]
                    insert_message(tx, message)
                    tip[0] = message.id

        await site.house.db.write(store)
        made = await site.house.shares.create(actor, conversation, tip[0], thoughts=True)
        return conversation, made.secret

    conversation, secret = site.call(furnish)
    asked: list[str] = []
    reader = stranger(site.url + "/sign-in")
    reader.on("request", lambda request: asked.append(request.url))
    reader.goto(f"{site.url}/s/{secret}")
    expect(replies(reader)).to_have_count(2 * -(-len(CORPUS) // 60))
    assert reader.evaluate(FIND_BAD) == [] and reader.evaluate("window.pwned") is None
    assert [url for url in asked if not url.startswith((site.url, "data:"))] == []

    page = visit(f"/c/{conversation}/about/export")
    page.get_by_label("HTML").check()
    page.get_by_label("What to export").select_option("tree")
    page.get_by_label("With the model").check()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    file = tmp_path / "chat.html"
    download.value.save_as(file)
    asked.clear()
    reader.goto(file.as_uri())
    expect(reader.get_by_role("article").first).to_be_visible()
    assert reader.evaluate(FIND_BAD) == [] and reader.evaluate("window.pwned") is None
    assert [url for url in asked if not url.startswith("file:")] == []
