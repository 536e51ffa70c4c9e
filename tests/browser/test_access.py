"""Axe finds nothing to mend, in both themes, on a desk and on a phone."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.browser.gallery import ANSWER
from tests.browser.stage import Site, ask_and_wait, pick, replies

pytestmark = pytest.mark.browser

Visit = Callable[..., Page]
Shoot = Callable[[Page, str], None]
LOOKS = [(scheme, width) for scheme in ("light", "dark") for width in (1440, 390)]


def assert_clean(page: Page) -> None:
    # what moves comes to rest first, so that no colour is judged half-way
    page.evaluate("document.getAnimations().forEach(one => { try { one.finish() } catch { one.cancel() } })")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_chat_is_clean_to_axe(visit: Visit, site: Site, shoot: Shoot, scheme: str, width: int) -> None:
    page = visit("/", scheme=scheme, width=width)
    shoot(page, f"new-{scheme}-{width}")
    assert_clean(page)
    site.actor.answers["Which layout?"] = ANSWER
    pick(page, "Thinker")
    ask_and_wait(page, "Which layout?")
    replies(page).nth(1).locator("summary").click()
    shoot(page, f"chat-{scheme}-{width}")
    assert_clean(page)
    page.get_by_role("button", name=re.compile("^Model")).click()
    shoot(page, f"models-{scheme}-{width}")
    assert_clean(page)
    page.keyboard.press("Escape")
    replies(page).nth(0).get_by_role("button", name="Edit", exact=True).click()
    expect(page.get_by_role("textbox", name="Edit message")).to_be_visible()
    shoot(page, f"edit-{scheme}-{width}")
    assert_clean(page)
    page.get_by_role("textbox", name="Edit message").press("Escape")
    replies(page).nth(1).get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("dialog")).to_be_visible()
    shoot(page, f"delete-{scheme}-{width}")
    assert_clean(page)
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("button", name="Undo")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(replies(page)).to_have_count(2)  # its answer brings the composer's buttons anew
    page.get_by_role("button", name="Clear context").click()
    expect(page.get_by_text("Context cleared")).to_be_visible()
    shoot(page, f"cleared-{scheme}-{width}")
    assert_clean(page)


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_running_and_failed_replies_are_clean_to_axe(
    visit: Visit, site: Site, shoot: Shoot, scheme: str, width: int
) -> None:
    page = visit("/", scheme=scheme, width=width)
    pick(page, "Refused")
    page.get_by_role("textbox", name="Message").fill("This will fail")
    page.keyboard.press("Enter")
    expect(replies(page).nth(1)).to_contain_text("key was refused")
    pick(page, "Waiter")
    page.get_by_role("textbox", name="Message").fill("This will take its time")
    page.keyboard.press("Enter")
    expect(replies(page).nth(3)).to_contain_text("You said")
    shoot(page, f"running-{scheme}-{width}")
    assert_clean(page)


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_pages_beside_the_chat_are_clean_to_axe(
    visit: Visit, browser: Browser, site: Site, shoot: Shoot, scheme: str, width: int
) -> None:
    page = visit("/settings", scheme=scheme, width=width)
    page.get_by_role("button", name="Make a key").click()
    expect(page.locator("[data-secret]")).to_be_visible()
    shoot(page, f"settings-{scheme}-{width}")
    assert_clean(page)
    page.goto(site.url + "/search?q=nothing")
    shoot(page, f"search-{scheme}-{width}")
    assert_clean(page)
    page.goto(site.url + "/c/unknown")
    shoot(page, f"error-{scheme}-{width}")
    assert_clean(page)
    if width == 390:
        page.goto(site.url + "/")
        page.get_by_role("button", name="Show chats").click()
        shoot(page, f"drawer-{scheme}-{width}")
        assert_clean(page)
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    outside = context.new_page()
    outside.goto(site.url + "/")
    expect(outside.get_by_role("button", name="Sign in")).to_be_visible()
    shoot(outside, f"sign-in-{scheme}-{width}")
    assert_clean(outside)
    context.close()


def tab_to(page: Page, name: str, *, back: bool = False) -> None:
    """Press Tab until the focus is on what has this name, and fail when it is not on the way."""
    for _ in range(60):
        page.keyboard.press("Shift+Tab" if back else "Tab")
        if page.evaluate("(document.activeElement.ariaLabel || document.activeElement.textContent).trim()") == name:
            return
    raise AssertionError(f"no way by Tab to {name}")


def test_edit_fork_file_search_and_settings_go_by_keys_alone(visit: Visit) -> None:
    page = visit()
    keys = page.keyboard
    keys.type("A walnut tree")
    keys.press("Enter")
    expect(replies(page).nth(1)).to_have_attribute("data-state", "done")
    tab_to(page, "Edit", back=True)
    keys.press("Enter")
    expect(page.get_by_role("textbox", name="Edit message")).to_be_focused()
    keys.type(", or so")
    keys.press("Control+Enter")
    expect(replies(page).nth(1).get_by_text("2/2")).to_be_visible()
    expect(page.get_by_role("textbox", name="Message")).to_be_focused()
    tab_to(page, "Fork", back=True)
    keys.press("Enter")
    expect(page.get_by_role("radio", name="This path only")).to_be_focused()
    keys.press("ArrowDown")
    tab_to(page, "Fork")
    keys.press("Enter")
    expect(page.get_by_text("Forked from")).to_be_visible()
    expect(page.get_by_role("textbox", name="Message")).to_be_focused()
    tab_to(page, "Attach files")
    with page.expect_file_chooser() as picking:
        keys.press("Enter")
    picking.value.set_files([{"name": "a.txt", "mimeType": "text/plain", "buffer": b"Words"}])
    remove = page.get_by_role("button", name=re.compile("^Remove"))
    expect(page.locator("#files > li")).not_to_have_attribute("aria-busy", "true")
    expect(remove).to_be_visible()
    tab_to(page, "Remove a.txt", back=True)
    keys.press("Enter")
    expect(remove).to_have_count(0)
    page.get_by_role("searchbox", name="Search").focus()
    keys.type("walnut")
    expect(page.get_by_role("navigation", name="Chats").get_by_text("walnut").first).to_be_visible()
    keys.press("Enter")
    expect(page.get_by_role("heading", name="Found for “walnut”")).to_be_visible()
    tab_to(page, "Settings")
    keys.press("Enter")
    expect(page.get_by_role("heading", name="Settings", exact=True)).to_be_visible()
    tab_to(page, "Dark")
    keys.press("Space")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_the_focus_comes_back_from_what_a_menu_opened(visit: Visit) -> None:
    page = visit()
    ask_and_wait(page, "Where does the focus go?")
    menu = page.get_by_label("More about this chat")
    more = replies(page).nth(1).get_by_role("button", name="More", exact=True)
    dialog = page.get_by_role("dialog")
    for opener, name in ((menu, "Share"), (menu, "Folder and tags"), (more, "What was sent")):
        opener.focus()
        page.keyboard.press("Enter")
        page.get_by_role("button", name=name, exact=True).focus()
        page.keyboard.press("Enter")
        expect(dialog).to_be_visible()
        page.keyboard.press("Escape")
        expect(opener).to_be_focused()
    menu.focus()
    page.keyboard.press("F2")
    expect(page.locator("[data-renaming]")).to_be_focused()
    page.keyboard.type("By keys alone")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="By keys alone")).to_be_visible()
    expect(menu).to_be_focused()
    expect(page.get_by_role("button", name="Share", exact=True)).to_be_hidden()
    more.focus()
    replies(page).nth(1).get_by_role("button", name="Delete", exact=True).press("Enter")
    dialog.get_by_role("button", name="Delete").press("Enter")
    expect(replies(page)).to_have_count(1)
    expect(page.get_by_role("textbox", name="Message")).to_be_focused()
