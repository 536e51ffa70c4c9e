"""A temporary chat in the browser: marked, reloaded, kept or ended; left, it says so and leaves nothing behind."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from chatserver.clock import now_us
from tests.browser.stage import Site, ask, ask_and_wait, replies, wait_until, write

pytestmark = pytest.mark.browser

Visit = Callable[..., Page]


def ends_in_s(site: Site, page: Page) -> float:
    """How long the server means to keep the page's chat; what it knows, not what the page says."""
    conversation = page.url.split("/c/")[1].split("/")[0]
    sql = "SELECT ends_at FROM conversations WHERE id = :id"
    found: int = site.call(lambda: site.house.db.read(lambda tx: tx.one(int, sql, id=conversation)))
    return (found - now_us()) / 1_000_000


def test_it_is_marked_reloaded_and_kept(visit: Visit) -> None:
    page = visit()
    chats = page.get_by_role("navigation", name="Chats")
    page.get_by_role("link", name="Temporary chat").click()
    expect(page).to_have_url(re.compile(r"\?temporary=1$"))
    expect(page.get_by_role("heading", name="Temporary chat", level=2)).to_be_visible()
    ask_and_wait(page, "Only between us")
    expect(page).to_have_title("Temporary chat · chatserver")
    expect(chats.get_by_text("Your chats will stand here")).to_be_visible()
    page.reload()
    expect(replies(page)).to_have_count(2)
    ask_and_wait(page, "And this")
    page.get_by_role("searchbox", name="Search").fill("between")
    expect(chats.get_by_text("Nothing found")).to_be_visible()
    page.get_by_role("searchbox", name="Search").fill("")
    page.get_by_role("button", name="Keep this chat").click()
    expect(chats.get_by_role("link", name="Only between us")).to_be_visible()
    expect(page.get_by_role("heading", name="Only between us", level=1)).to_be_visible()
    expect(page.get_by_role("button", name="Keep this chat")).to_have_count(0)
    expect(replies(page)).to_have_count(4)


def test_ended_it_is_gone(visit: Visit, site: Site) -> None:
    page = visit("/?temporary=1")
    ask_and_wait(page, "Only between us")
    where = page.url
    page.get_by_label("More about this chat").click()
    page.get_by_role("button", name="End this chat").click()
    page.get_by_role("button", name="End and erase").click()
    expect(page.get_by_role("link", name="Temporary chat")).to_be_visible()
    expect(replies(page)).to_have_count(0)
    page.goto(where)
    expect(page.get_by_role("heading", name="There is nothing here")).to_be_visible()


def test_left_it_is_erased_soon_and_come_back_to_it_stays(visit: Visit, site: Site) -> None:
    page = visit("/?temporary=1")
    ask_and_wait(page, "Only between us")
    where = page.url
    write(page, "a draft that must not stay")
    conversation = where.split("/c/")[1].split("/")[0]
    assert page.evaluate(f"localStorage.getItem('draft:{conversation}')") == "a draft that must not stay"
    assert ends_in_s(site, page) > 80_000
    page.get_by_role("link", name="New chat").click()
    expect(replies(page)).to_have_count(0)
    wait_until(lambda: page.evaluate(f"localStorage.getItem('draft:{conversation}')") is None)
    page.go_back()
    expect(replies(page)).to_have_count(2)
    wait_until(lambda: ends_in_s(site, page) > 80_000)
    other = page.context.new_page()
    other.goto(site.url)
    page.close(run_before_unload=False)
    other.evaluate(f"history.replaceState(null, '', '{where.removeprefix(site.url)}')")
    wait_until(lambda: ends_in_s(site, other) < 1_000)


def test_without_a_script_it_works_too(visit: Visit) -> None:
    page = visit(script=False)
    page.get_by_role("link", name="Temporary chat").click()
    ask(page, "Only between us")
    expect(page.get_by_role("button", name="Keep this chat")).to_be_visible()
    page.get_by_role("button", name="Keep this chat").click()
    expect(page.get_by_role("navigation", name="Chats").get_by_role("link", name="Only between us")).to_be_visible()
