"""The tree made visible: the panel with its map, names, differences, forks, pruning; by mouse, keyboard and phone."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.stage import Site, ask_and_wait, replies

pytestmark = pytest.mark.browser

Visit = Callable[..., Page]


def panel(page: Page) -> Locator:
    return page.get_by_role("complementary", name="Panel")


def rows(page: Page) -> Locator:
    return panel(page).get_by_role("list", name="Messages").get_by_role("link")


def grow(page: Page) -> None:
    """Two branches below the first answer: one about oaks that goes on, one about elms."""
    ask_and_wait(page, "Which tree?")
    ask_and_wait(page, "Tell me of oaks")
    article = replies(page).nth(2)
    article.get_by_role("button", name="Edit", exact=True).click()
    page.get_by_role("textbox", name="Edit message").fill("Tell me of elms")
    page.get_by_role("button", name="Save").click()
    expect(replies(page).last).to_contain_text("You said: Tell me of elms")
    expect(replies(page).last).to_have_attribute("data-state", "done")


def open_map(page: Page) -> None:
    page.get_by_role("button", name="Branch map").click()
    expect(rows(page).first).to_be_visible()


def test_a_row_leads_to_its_branch_and_the_map_follows(visit: Visit) -> None:
    page = visit()
    grow(page)
    open_map(page)
    expect(rows(page)).to_have_count(6)
    expect(rows(page).last).to_have_attribute("aria-current", "true")
    rows(page).filter(has_text="Tell me of oaks").first.click()
    expect(replies(page).last).to_contain_text("You said: Tell me of oaks")
    expect(rows(page).filter(has_text="You said: Tell me of oaks")).to_have_attribute("aria-current", "true")
    ask_and_wait(page, "How old do they get?")
    expect(rows(page).filter(has_text="How old do they get?").first).to_be_visible()
    page.reload()
    expect(rows(page).first).to_be_visible()


def test_a_branch_is_named_and_the_name_stands_beside_the_title(visit: Visit) -> None:
    page = visit()
    grow(page)
    open_map(page)
    panel(page).get_by_role("button", name=re.compile("^Name Tell me of elms")).click()
    page.get_by_role("dialog").get_by_role("textbox", name="Name").fill("Elms <b>only</b>")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(page.locator("#branch-name")).to_have_text("Elms <b>only</b>")
    expect(panel(page).get_by_role("link").filter(has_text="Elms <b>only</b>")).to_be_visible()
    page.reload()
    expect(page.locator("#branch-name")).to_have_text("Elms <b>only</b>")


def test_two_branches_are_compared(visit: Visit) -> None:
    page = visit()
    grow(page)
    open_map(page)
    for box in panel(page).get_by_role("checkbox").all():
        box.check()
    panel(page).get_by_role("button", name="Compare two").click()
    expect(page.get_by_role("heading", name="Difference of two branches")).to_be_visible()
    expect(page.locator("del").first).to_have_text(re.compile("oaks|elms"))
    expect(page.locator("ins").first).to_be_visible()


def test_a_fork_is_a_chat_of_its_own_and_leads_back(visit: Visit) -> None:
    page = visit()
    grow(page)
    source = page.url
    replies(page).nth(1).get_by_role("button", name="Fork").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("radio", name=re.compile("This path only")).check()
    dialog.get_by_role("button", name="Fork").click()
    expect(page.get_by_text("Forked from")).to_be_visible()
    expect(replies(page)).to_have_count(2)
    assert page.url.split("/")[-2] != source.split("/")[-2]
    ask_and_wait(page, "Only here")
    page.get_by_text("Forked from").get_by_role("link").click()
    expect(replies(page).last).to_contain_text("You said: Tell me of elms")


def test_a_branch_is_pruned_after_its_size_is_said_and_comes_back(visit: Visit) -> None:
    page = visit()
    grow(page)
    open_map(page)
    panel(page).get_by_role("button", name=re.compile("^Prune Tell me of oaks")).click()
    expect(page.get_by_role("dialog")).to_contain_text("Delete 2 messages?")
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(rows(page)).to_have_count(4)
    page.get_by_role("button", name="Undo").click()
    expect(rows(page)).to_have_count(6)


def test_the_map_goes_by_keyboard_and_gives_the_focus_back(visit: Visit) -> None:
    page = visit()
    grow(page)
    page.keyboard.press("Alt+m")
    expect(rows(page).last).to_be_focused()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(panel(page)).to_be_visible()
    rows(page).first.focus()
    page.keyboard.press("Escape")
    expect(panel(page)).to_be_hidden()
    expect(page.get_by_role("button", name="Branch map")).to_be_focused()


def test_on_a_phone_the_map_lies_over_the_chat_and_makes_way(visit: Visit) -> None:
    page = visit("/", width=390, touch=True)
    grow(page)
    open_map(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    rows(page).filter(has_text="Tell me of oaks").first.click()
    expect(panel(page)).to_be_hidden()
    expect(replies(page).last).to_contain_text("You said: Tell me of oaks")


def test_without_a_script_the_map_is_a_page(visit: Visit) -> None:
    scripted = visit()
    grow(scripted)
    page = visit(scripted.url.split(scripted.url.split("/c/")[0])[1], script=False)
    page.get_by_role("button", name="Branch map").click()
    expect(page.get_by_role("heading", name="Branch map")).to_be_visible()
    page.get_by_role("link", name=re.compile("^Tell me of oaks")).first.click()
    expect(page.get_by_role("article").last).to_contain_text("You said: Tell me of oaks")


def test_hostile_words_stay_words(visit: Visit, site: Site) -> None:
    page = visit()
    attack = "<img src=x onerror=document.title='run'><script>document.title='run'</script>"
    ask_and_wait(page, attack)
    open_map(page)
    expect(rows(page).first).to_contain_text("<img src=x")
    assert panel(page).locator("img, script").count() == 0
    assert page.title() != "run"
