"""Knowledge in a real browser: a collection is made, an answer names its passages, and each opens on its page."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import FilePayload, Page, expect

from tests.browser.stage import Site, ask_and_wait, replies

pytestmark = pytest.mark.browser

Visit = Callable[..., Page]
Shoot = Callable[[Page, str], None]
TREES = (
    "# Trees\n\n## Oak\nThe oak sheds its leaves in autumn and lives a thousand years.\n\n"
    "## Fir\nThe fir keeps its needles in winter, and is felled for Christmas.\n\n"
    "## Larch\nThe larch is the one conifer here that drops its needles.\n"
)
QUESTION = "Which tree keeps its needles?"
ANSWER = "The fir does [1]. The oak loses its leaves in autumn [2][3], and `[1]` is code. Nothing is known of [9]."


def is_clean(page: Page) -> None:
    result = Axe().run(page)
    assert result.violations_count == 0, result.generate_report()


def test_an_answer_leads_to_the_passage_on_its_page(visit: Visit, site: Site, shoot: Shoot) -> None:
    site.actor.answers[QUESTION] = ANSWER
    page = visit("/x/knowledge/")
    page.get_by_role("textbox", name="Name of a new collection").fill("Forest")
    page.get_by_role("button", name="Make").click()
    expect(page.get_by_role("heading", name="Forest", level=1)).to_be_visible()
    file: FilePayload = {"name": "trees.md", "mimeType": "text/markdown", "buffer": TREES.encode()}
    page.get_by_label("Add files").set_input_files(file)
    expect(page.get_by_text("Ready, 3 passages")).to_be_visible(timeout=60_000)
    is_clean(page)
    shoot(page, "knowledge-collection-light-1440")

    page.goto(site.url)
    page.locator("summary[aria-label=Knowledge]").click()
    page.get_by_role("checkbox", name="Forest").check()
    chip = page.locator(".know-chip", has_text="Forest")
    expect(chip).to_be_visible()
    shoot(page, "knowledge-chooser-light-1440")
    is_clean(page)
    chip.get_by_role("button", name="Remove Forest").click()
    expect(chip).to_be_hidden()
    expect(page.locator("summary[aria-label=Knowledge]")).to_be_focused()
    page.keyboard.press("Enter")
    page.get_by_role("checkbox", name="Forest").check()
    page.keyboard.press("Escape")
    expect(chip).to_be_visible()
    ask_and_wait(page, QUESTION)
    answer = replies(page).last
    chips = answer.locator(".prose").get_by_role("link")
    expect(chips).to_have_count(3)
    expect(chips.first).to_have_accessible_name("Source 1: trees.md, Trees › Fir")
    expect(answer.locator(".prose")).to_contain_text("of [9].")
    expect(answer.locator(".prose code")).to_have_text("[1]")
    shoot(page, "sources-chips-light-1440")
    chips.nth(1).click()
    panel = page.get_by_role("complementary", name="Panel")
    expect(panel.get_by_role("link", name="Source 2")).to_have_attribute("aria-current", "true")
    expect(panel.locator("blockquote")).to_contain_text(re.compile("conifer|leaves"))
    is_clean(page)
    shoot(page, "sources-tab-light-1440")
    panel.get_by_role("link", name="Source 1").click()
    expect(panel.locator("blockquote")).to_contain_text("felled for Christmas")
    panel.get_by_role("link", name="Open the passage").click()
    expect(page.get_by_role("heading", name="trees.md", level=1)).to_be_visible()
    is_clean(page)
    shoot(page, "sources-passage-light-1440")
    page.go_back()
    expect(replies(page)).to_have_count(2)
    address = page.url

    small = visit(address.removeprefix(site.url), width=390, scheme="dark")
    expect(small.locator(".know-chip", has_text="Forest")).to_be_visible()
    shoot(small, "knowledge-chip-dark-390")
    replies(small).last.get_by_role("link", name="Source 1").first.click()
    expect(small.locator("#panel blockquote")).to_contain_text("felled")
    is_clean(small)
    shoot(small, "sources-tab-dark-390")
    bare = visit(address.removeprefix(site.url), script=False)
    replies(bare).last.get_by_role("link", name="Source 1").first.click()
    bare.get_by_role("link", name="Open the passage").click()
    expect(bare.locator("blockquote")).to_contain_text("felled for Christmas")
