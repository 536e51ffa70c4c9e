"""Chats in order: folders, tags, the archive, many at once, search with filters; the palette and the keys."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.stage import Site, ask_and_wait, replies

pytestmark = pytest.mark.browser

Visit = Callable[..., Page]


def side(page: Page):  # type: ignore[no-untyped-def]
    return page.get_by_role("navigation", name="Chats")


def test_a_chat_is_filed_and_dragged_out_again(visit: Visit) -> None:
    page = visit()
    ask_and_wait(page, "Of oaks")
    page.get_by_label("More about this chat").click()
    page.get_by_role("button", name="Folder and tags").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("textbox", name="Or a new folder").fill("Trees <i>")
    dialog.get_by_role("textbox", name=re.compile("^Tags")).fill("wood, old")
    dialog.get_by_role("button", name="Save").click()
    folder = side(page).locator("[data-folder]")
    expect(folder.locator("summary")).to_contain_text("Trees <i>")
    expect(side(page).get_by_role("link", name="#wood")).to_be_visible()
    crumb = page.get_by_role("link", name="Folder: Trees <i>")
    expect(crumb).to_be_visible()
    folder.locator("summary").click()
    line = folder.locator("[data-line]")
    expect(line).to_be_visible()
    ask_and_wait(page, "More of oaks")
    page.get_by_role("link", name="New chat").click()
    expect(replies(page)).to_have_count(0)
    ask_and_wait(page, "Of elms")
    loose = side(page).locator("section:not(.folders) [data-line]").first
    expect(loose).to_contain_text("A fine title")
    page.goto(page.url)  # a page on which nothing is being written: no list is drawn anew under the hand
    expect(folder.locator("[data-line]")).to_be_visible()
    loose.drag_to(folder.locator("summary"))
    expect(folder.locator("summary small")).to_have_text("2")
    page.reload()
    expect(side(page).locator("[data-folder] [data-line]")).to_have_count(2)
    crumb.click()
    expect(page.get_by_role("heading", level=1, name="Trees <i>")).to_be_visible()


def test_many_chats_are_archived_and_deleted_with_a_way_back(visit: Visit) -> None:
    page = visit()
    for word in ("oaks", "elms", "firs"):
        ask_and_wait(page, f"Of {word}")
        page.get_by_role("link", name="New chat").click()
        expect(replies(page)).to_have_count(0)
    side(page).get_by_role("link", name="All chats").click()
    boxes = page.get_by_role("main").get_by_role("checkbox")
    expect(boxes).to_have_count(3)
    boxes.nth(0).check()
    page.get_by_role("main").get_by_role("button", name="Archive").click()
    expect(boxes).to_have_count(2)
    for box in boxes.all():
        box.check()
    page.get_by_role("main").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="2 chats deleted")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(boxes).to_have_count(2)
    page.get_by_role("main").get_by_role("link", name="Archive").click()
    expect(boxes).to_have_count(1)


def test_a_title_is_changed_in_place(visit: Visit) -> None:
    page = visit()
    ask_and_wait(page, "Of oaks")
    expect(page.get_by_role("heading", level=1)).to_have_text("A fine title")
    page.keyboard.press("Escape")
    page.get_by_role("heading", level=1).dblclick()
    expect(page.locator("[data-renaming]")).to_be_focused()
    page.keyboard.type("Never mind")
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", level=1)).to_have_text("A fine title")
    # once more, before the part of the page that knows how has come: no key is lost
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("A fine title")
    held: list[Route] = []
    page.route("**/rename.js", lambda route: held.append(route))
    page.keyboard.press("Escape")
    page.get_by_label("More about this chat").focus()
    page.keyboard.press("F2")
    page.keyboard.type("Typed at once")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelector('[data-renaming]').early")
    held[0].continue_()
    expect(page.get_by_role("heading", level=1)).to_have_text("Typed at once")
    expect(side(page).locator("[data-line]")).to_contain_text("Typed at once")
    side(page).locator("[data-line]").dblclick()
    expect(page.locator("[data-renaming]")).to_be_focused()
    page.keyboard.type("All <b>about</b> oaks")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("All <b>about</b> oaks")
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("All <b>about</b> oaks")


def test_search_is_narrowed_and_leads_to_the_message(visit: Visit, site: Site) -> None:
    page = visit()
    ask_and_wait(page, "A word of walnuts")
    page.goto(site.url + "/search?q=walnuts")
    hits = page.get_by_role("main").get_by_role("listitem")
    expect(hits.filter(has_text="walnuts")).to_have_count(2)
    expect(page.locator("mark").first).to_have_text("walnuts")
    page.get_by_text("Narrow it down").click()
    page.get_by_label("Who wrote it").select_option("assistant")
    page.get_by_role("main").get_by_role("button", name="Search").click()
    expect(hits).to_have_count(1)
    hits.get_by_role("link").click()
    expect(replies(page).nth(1)).to_be_in_viewport()


def test_the_palette_goes_by_keyboard(visit: Visit, site: Site) -> None:
    page = visit()
    ask_and_wait(page, "A word of walnuts")
    page.get_by_role("link", name="New chat").click()
    expect(replies(page)).to_have_count(0)
    page.keyboard.press("Control+k")
    box = page.get_by_role("combobox", name="Find a chat or a command")
    expect(box).to_be_focused()
    box.press_sequentially("walnuts")
    expect(page.get_by_role("option", name="A fine title")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")
    expect(replies(page)).to_have_count(2)
    page.keyboard.press("Control+k")
    page.get_by_role("combobox").press_sequentially("branch map")
    expect(page.get_by_role("option", name=re.compile("Branch map"))).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")
    expect(page.get_by_role("complementary", name="Panel")).to_be_visible()
    page.keyboard.press("Control+k")
    page.get_by_role("combobox").press_sequentially("nothing like it")
    expect(page.get_by_text("Nothing found")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_every_key_stands_on_the_sheet(visit: Visit) -> None:
    page = visit()
    page.get_by_role("textbox", name="Message").press_sequentially("what?")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.get_by_role("textbox", name="Message")).to_have_value("what?")
    page.get_by_role("button", name=re.compile("^Model")).focus()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog").get_by_role("heading", name="Keyboard shortcuts")).to_be_visible()
    for label in ("New chat", "Branch map", "Previous version", "Rename this chat"):
        expect(page.get_by_role("dialog").get_by_text(label, exact=True)).to_be_visible()


def test_without_a_script_everything_has_a_page(visit: Visit, site: Site) -> None:
    scripted = visit()
    ask_and_wait(scripted, "Of oaks")
    page = visit("/chats", script=False)
    page.get_by_text("New folder", exact=True).click()
    page.get_by_role("textbox", name="Name of the new folder").fill("Trees")
    page.get_by_role("button", name="Make a folder").click()
    expect(page.get_by_role("heading", name="Trees")).to_be_visible()
    page.goto(site.url + "/chats")
    page.get_by_role("checkbox").check()
    page.get_by_label("Folder to move to").select_option("Trees")
    page.get_by_role("button", name="Move").click()
    page.get_by_role("main").get_by_role("link", name="Trees").click()
    expect(page.get_by_role("checkbox")).to_have_count(1)
    page.goto(site.url + "/shortcuts")
    expect(page.get_by_role("heading", name="Keyboard shortcuts")).to_be_visible()
