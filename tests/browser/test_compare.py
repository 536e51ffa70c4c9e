"""One question to several models: picked in the composer, streamed side by side, one kept."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.stage import Site, ask, ask_and_wait, replies
from tests.browser.test_access import assert_clean

pytestmark = pytest.mark.browser

Visit = Callable[..., Page]
Shoot = Callable[[Page, str], None]
LONG = "one two three four five six seven eight nine ten eleven twelve"


def pick_several(page: Page, *models: str) -> None:
    """The first is the one that is picked already."""
    page.get_by_role("button", name=re.compile("^Model")).click()
    page.get_by_role("button", name="Compare", exact=True).last.click()
    for model in models:
        page.get_by_role("option", name=re.compile(f"^{model}")).click()
    page.keyboard.press("Enter")
    expect(page.get_by_role("textbox", name="Message")).to_be_focused()


def column(page: Page, model: str) -> Locator:
    return page.get_by_role("region", name=model)


def test_two_models_answer_side_by_side_and_one_is_kept(visit: Visit, site: Site, shoot: Shoot) -> None:
    page = visit()
    site.actor.answers["Count"] = LONG
    pick_several(page, "Waiter", "Broken")
    expect(page.get_by_role("button", name="Model Swift, Waiter, Broken")).to_be_visible()
    ask(page, "Count")
    expect(page).to_have_url(re.compile(r"/c/\w+/\w+/compare$"))
    expect(column(page, "Swift")).to_contain_text(LONG)
    expect(column(page, "Swift")).to_contain_text("Done")
    expect(column(page, "Waiter")).to_contain_text("one two three")
    expect(column(page, "Waiter").get_by_role("article")).to_have_attribute("aria-busy", "true")
    expect(column(page, "Broken")).to_contain_text("The answer was cut off")
    shoot(page, "compare-streaming")
    assert page.evaluate("performance.getEntriesByType('resource').filter(e => e.name.includes('/events')).length") <= 2
    page.reload()
    expect(column(page, "Waiter")).to_contain_text("one two three")
    expect(column(page, "Waiter").get_by_role("article")).to_have_attribute("aria-busy", "true")
    site.actor.held.set()
    expect(column(page, "Waiter")).to_contain_text(LONG)
    expect(column(page, "Waiter").get_by_role("article")).to_have_attribute("data-state", "done")
    assert column(page, "Waiter").inner_text().count("eleven") == 1
    column(page, "Broken").get_by_role("button", name="Try again").click()
    expect(page).to_have_url(re.compile(r"/compare\?with="))
    expect(column(page, "Broken").get_by_role("article")).to_have_attribute("data-state", "interrupted")
    expect(page.locator(".duo > section")).to_have_count(3)
    column(page, "Waiter").get_by_role("button", name="Keep this").click()
    expect(replies(page)).to_have_count(2)
    expect(replies(page).nth(1)).to_contain_text("2/4")
    expect(page).to_have_url(re.compile(r"/c/\w+/\w+$"))
    ask_and_wait(page, "Go on")
    assert "eleven" in str(site.actor.requests[-1].messages[1])
    page.reload()
    expect(replies(page)).to_have_count(4)


def test_stop_ends_all_of_them_or_one(visit: Visit, site: Site) -> None:
    page = visit()
    site.actor.answers["Slow"] = LONG
    pick_several(page, "Waiter", "Silent")
    ask(page, "Slow")
    expect(column(page, "Waiter")).to_contain_text("one two three")
    column(page, "Silent").get_by_role("button", name="Stop Silent").click()
    expect(column(page, "Silent").get_by_role("article")).to_have_attribute("data-state", "stopped")
    expect(column(page, "Waiter").get_by_role("article")).to_have_attribute("aria-busy", "true")
    column(page, "Silent").get_by_role("button", name="Try again").click()
    expect(column(page, "Silent").get_by_role("article")).to_have_attribute("aria-busy", "true")
    expect(column(page, "Waiter").get_by_role("article")).to_have_attribute("aria-busy", "true")
    page.get_by_role("button", name="Stop", exact=True).click()
    for model in ("Waiter", "Silent"):
        expect(column(page, model).get_by_role("article")).to_have_attribute("data-state", "stopped")
    expect(page.get_by_role("button", name="Send")).to_be_visible()


def test_a_reply_is_compared_with_another_models_by_keyboard(visit: Visit, site: Site, shoot: Shoot) -> None:
    page = visit()
    ask_and_wait(page, "First")
    replies(page).nth(1).get_by_role("button", name="Compare").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    shoot(page, "compare-with")
    dialog.get_by_role("radio", name=re.compile("^Thinker")).focus()
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    expect(column(page, "Thinker").get_by_role("article")).to_have_attribute("data-state", "done")
    expect(column(page, "Swift")).to_contain_text("You said: First")
    page.get_by_label("Ask another model").select_option("broken")
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(column(page, "Broken").get_by_role("article")).to_have_attribute("data-state", "interrupted")
    column(page, "Thinker").get_by_role("button", name="Keep this").focus()
    page.keyboard.press("Enter")
    expect(replies(page).nth(1)).to_contain_text("2/3")
    replies(page).nth(1).get_by_role("button", name="Compare").click()
    page.get_by_role("dialog").get_by_role("link", name="Show the 3 answers").click()
    expect(page.locator(".duo > section")).to_have_count(3)
    page.go_back()
    expect(replies(page)).to_have_count(2)


def test_several_are_picked_by_keyboard_and_unpicked(visit: Visit, site: Site) -> None:
    page = visit()
    page.get_by_role("button", name=re.compile("^Model")).focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Compare")).to_be_focused()
    page.keyboard.press("Space")
    expect(page.get_by_role("listbox", name="Model")).to_be_focused()
    for key in ("ArrowDown", "Space", "ArrowDown", "Space", "ArrowUp", "Space"):
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    expect(page.get_by_role("textbox", name="Message")).to_be_focused()
    expect(page.get_by_role("listbox")).to_be_hidden()
    expect(page.get_by_role("button", name="Model Swift, Waiter")).to_be_visible()
    page.get_by_role("button", name=re.compile("^Model")).click()
    assert page.get_by_role("option", selected=True).count() == 2
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("button", name="Model Swift", exact=True)).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("listbox")).to_be_hidden()
    ask_and_wait(page, "Only one")
    expect(replies(page)).to_have_count(2)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 390)])
def test_a_comparison_is_clean_to_axe_and_fits_a_phone(
    visit: Visit, site: Site, shoot: Shoot, scheme: str, width: int
) -> None:
    page = visit("/", scheme=scheme, width=width, touch=width < 800)
    site.actor.answers["Which layout?"] = "Use an **adjacency list**:\n\n- one row\n- one update\n\n" + LONG
    page.get_by_role("button", name=re.compile("^Model")).click()
    page.get_by_role("button", name="Compare").click()
    shoot(page, f"compare-pick-{scheme}-{width}")
    assert_clean(page)
    page.get_by_role("option", name=re.compile("^Thinker")).click()
    page.get_by_role("option", name=re.compile("^Waiter")).click()
    page.keyboard.press("Enter")
    ask(page, "Which layout?")
    expect(column(page, "Thinker").get_by_role("article")).to_have_attribute("data-state", "done")
    expect(column(page, "Waiter")).to_contain_text("Use an")
    shoot(page, f"compare-{scheme}-{width}")
    assert_clean(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    column(page, "Waiter").get_by_role("button", name="Keep this").scroll_into_view_if_needed()
    shoot(page, f"compare-end-{scheme}-{width}")
    site.actor.held.set()
    column(page, "Waiter").get_by_role("button", name="Keep this").click()
    expect(replies(page)).to_have_count(2)


def test_without_a_script_answers_are_read_side_by_side(visit: Visit, site: Site) -> None:
    page = visit("/", script=False)
    page.get_by_role("textbox", name="Message").fill("No script")
    page.get_by_role("button", name="Send").click()
    expect(replies(page).nth(1)).to_contain_text("You said: No script")
    replies(page).nth(1).get_by_role("button", name="Compare").click()
    page.get_by_role("radio", name=re.compile("^Thinker")).check()
    page.get_by_role("button", name="Compare").click()
    expect(column(page, "Thinker")).to_contain_text("You said: No script")
    expect(column(page, "Swift")).to_contain_text("You said: No script")
    column(page, "Thinker").get_by_role("button", name="Keep this").click()
    expect(replies(page)).to_have_count(2)
