"""Drafts stay with who wrote them; and word of an answer that became ready while one looked at something else."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from chatserver.domain.access import Account
from tests.browser.stage import Site, ask, ask_and_wait, pick, replies, write

pytestmark = pytest.mark.browser

Visit = Callable[..., Page]
HIDEABLE = """
Object.defineProperty(document, "hidden", { get: () => window.isAway === true })
window.told = []
window.Notification = class {
  static permission = "default"
  static requestPermission = async () => (this.permission = "granted")
  constructor(title, options) { window.told.push(`${title}: ${options.body}`) }
}
"""


def look_away(page: Page, away: bool = True) -> None:
    page.evaluate(f"window.isAway = {str(away).lower()}; document.dispatchEvent(new Event('visibilitychange'))")


def box(page: Page) -> str:
    return page.get_by_role("textbox", name="Message").input_value()


def test_a_draft_survives_a_reload_and_goes_when_it_is_sent(visit: Visit) -> None:
    page = visit()
    ask_and_wait(page, "First")
    write(page, "half a thought")
    page.reload()
    assert box(page) == "half a thought"
    page.get_by_role("button", name="Send").click()
    expect(replies(page).nth(3)).to_have_attribute("data-state", "done")
    page.reload()
    expect(replies(page)).to_have_count(4)
    assert box(page) == ""


def test_two_tabs_of_a_chat_have_one_draft(visit: Visit) -> None:
    page = visit()
    ask_and_wait(page, "First")
    other = page.context.new_page()
    other.goto(page.url)
    write(page, "written here")
    expect(other.get_by_role("textbox", name="Message")).to_have_value("written here")
    page.get_by_role("button", name="Send").click()
    expect(replies(page).nth(3)).to_have_attribute("data-state", "done")
    expect(other.get_by_role("textbox", name="Message")).to_have_value("")
    write(other, "my own words")
    expect(page.get_by_role("textbox", name="Message")).to_have_value("my own words")
    other.close()


def test_drafts_are_gone_with_who_signs_out_and_never_shown_to_another(
    visit: Visit, site: Site, account: Account
) -> None:
    page = visit()
    write(page, "a private draft")
    stays = page.context.new_page()
    stays.goto(site.url)
    expect(stays.get_by_role("textbox", name="Message")).to_have_value("a private draft")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    assert page.evaluate("Object.keys(localStorage).filter(key => key.startsWith('draft')).length") == 0

    bob = site.account(f"bob-{account.email}", "Bob", "member")
    page.context.clear_cookies()
    page.context.add_cookies([site.cookie(bob)])  # type: ignore[list-item]
    page.goto(site.url)
    expect(page.get_by_role("textbox", name="Message")).to_have_value("")
    stays.get_by_role("textbox", name="Message").press_sequentially(" in a tab left open")
    page.reload()
    expect(page.get_by_role("textbox", name="Message")).to_have_value("")
    stays.close()


def test_an_expired_session_leaves_no_draft_to_the_next_person(visit: Visit, site: Site, account: Account) -> None:
    page = visit()
    write(page, "a private draft")
    bob = site.account(f"next-{account.email}", "Bob", "member")
    page.context.clear_cookies()
    page.context.add_cookies([site.cookie(bob)])  # type: ignore[list-item]
    page.goto(site.url)
    expect(page.get_by_role("textbox", name="Message")).to_have_value("")
    assert "private" not in page.evaluate("JSON.stringify(localStorage)")


def test_the_title_tells_of_an_answer_that_came_while_one_was_away(visit: Visit, site: Site) -> None:
    page = visit()
    page.add_init_script(HIDEABLE)
    page.reload()
    pick(page, "Waiter")
    ask(page, "A long question, please")
    expect(replies(page).last).to_contain_text("You said")
    look_away(page)
    site.actor.held.set()
    expect(page).to_have_title(re.compile("^● "), timeout=20_000)
    assert page.evaluate("window.told") == [], "nobody asked for notifications"
    look_away(page, False)
    expect(page).not_to_have_title(re.compile("^● "))
    expect(replies(page).last).to_have_attribute("data-state", "done")


def test_who_wants_it_is_notified(visit: Visit, site: Site) -> None:
    page = visit("/settings")
    page.add_init_script(HIDEABLE + "window.Notification.permission = 'granted'")
    page.reload()
    button = page.get_by_role("button", name="Notify me")
    expect(button).to_have_attribute("aria-pressed", "false")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    page.goto(site.url)
    pick(page, "Waiter")
    ask(page, "A long question")
    expect(replies(page).last).to_contain_text("You said")
    look_away(page)
    site.actor.held.set()
    expect(page).to_have_title(re.compile("^● "), timeout=20_000)
    assert page.evaluate("window.told") == ["A long question: An answer is ready"]
    page.goto(f"{site.url}/settings")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "false")
