"""What the page does when the world around it breaks: a killed server, a hidden tab, a limit."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from chatserver.testing.upstream import FakeUpstream
from tests.browser.stage import Site, ask, ask_and_wait, pick, replies
from tests.running import RunningServer

pytestmark = pytest.mark.browser

Visit = Callable[..., Page]
PASSWORD = "correct horse battery"

COUNT_STREAMS = """
window.opened = 0; window.open_now = 0
window.EventSource = class extends EventSource {
  constructor(url) { super(url); opened++; open_now++ }
  close() { if (this.readyState !== 2) open_now--; super.close() }
}"""


HIDE = """hidden => {
  Object.defineProperty(document, 'hidden', {value: hidden, configurable: true})
  document.dispatchEvent(new Event('visibilitychange'))
}"""


def sign_in(page: Page, url: str) -> None:
    page.goto(url)
    page.get_by_role("textbox", name="Email").fill("ann@example.org")
    page.get_by_role("textbox", name="Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("textbox", name="Message")).to_be_visible()


def test_page_outlives_kill_nine_and_offers_to_continue(
    browser: Browser, tmp_path: Path, fake_upstream: FakeUpstream
) -> None:
    model = "fake-n300-gap20"
    server = RunningServer(tmp_path, fake_upstream.base_url, models=[model])
    server.start()
    server.account("ann@example.org", PASSWORD)
    page = browser.new_page()
    try:
        sign_in(page, server.url)
        ask(page, "Tell me much")
        page.wait_for_function("() => document.querySelectorAll('article')[1]?.innerText.length > 200")
        seen = replies(page).nth(1).locator("[data-part=text]").inner_text()
        server.kill()
        reply = replies(page).nth(1)
        page.wait_for_function(
            "() => getComputedStyle(document.querySelector('[data-status]'), '::after').content.includes('lost')"
        )
        server.start()
        expect(reply).to_have_attribute("data-state", "interrupted", timeout=20_000)
        expect(reply).to_contain_text("The answer was cut off")
        kept = reply.locator("[data-part=text]").inner_text()
        assert kept and (kept.startswith(seen[:50]) or seen.startswith(kept))
        page.get_by_role("button", name="Continue").click()
        expect(replies(page)).to_have_count(3)
        expect(replies(page).nth(2).locator("[data-part=text]")).not_to_be_empty()
        page.get_by_role("button", name="Stop", exact=True).click()
        expect(replies(page).nth(2)).to_have_attribute("data-state", "stopped")
    finally:
        page.context.close()
        server.stop()


def test_too_many_questions_are_told_and_the_words_are_kept(
    browser: Browser, tmp_path: Path, fake_upstream: FakeUpstream
) -> None:
    server = RunningServer(tmp_path, fake_upstream.base_url, models=["fake-n5"], limits={"sends_per_minute": 1})
    server.start()
    server.account("ann@example.org", PASSWORD)
    page = browser.new_page()
    try:
        sign_in(page, server.url)
        ask_and_wait(page, "First")
        ask(page, "Second, too soon")
        expect(page.get_by_role("alert")).to_contain_text("A little too fast")
        expect(page.get_by_role("textbox", name="Message")).to_have_value("Second, too soon")
        expect(replies(page)).to_have_count(2)
        expect(page.get_by_role("button", name="Send")).to_be_visible()
    finally:
        page.context.close()
        server.stop()


def test_one_stream_a_page_and_none_while_nothing_runs_or_nobody_looks(visit: Visit, site: Site) -> None:
    page = visit()
    page.add_init_script(COUNT_STREAMS)
    page.reload()
    assert page.evaluate("opened") == 0
    pick(page, "Waiter")
    site.actor.answers["Wait"] = "Some words and then a long silence until the curtain falls"
    ask(page, "Wait")
    expect(replies(page).nth(1)).to_contain_text("Some words")
    assert page.evaluate("[opened, open_now]") == [1, 1]
    page.evaluate(HIDE, True)
    assert page.evaluate("open_now") == 0
    site.actor.held.set()
    page.evaluate(HIDE, False)
    assert page.evaluate("opened") == 2
    expect(replies(page).nth(1)).to_contain_text("until the curtain falls")
    expect(replies(page).nth(1)).to_have_attribute("data-state", "done")
    assert replies(page).nth(1).inner_text().count("Some words") == 1


def test_session_that_ended_leads_to_the_door_and_keeps_the_draft(visit: Visit, site: Site) -> None:
    page = visit()
    page.get_by_role("textbox", name="Message").press_sequentially("do not lose me")
    cookies = page.context.cookies()
    page.context.clear_cookies()
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    page.context.add_cookies(cookies)  # type: ignore[arg-type]
    page.goto(site.url)
    expect(page.get_by_role("textbox", name="Message")).to_have_value("do not lose me")


def test_slow_model_is_talked_about(visit: Visit, site: Site) -> None:
    page = visit()
    page.clock.install()
    page.reload()
    pick(page, "Silent")
    ask(page, "Anyone there?")
    expect(page).to_have_url(re.compile("/c/"))
    page.clock.fast_forward(3_000)
    page.clock.fast_forward(20_000)
    expect(replies(page).nth(1)).to_contain_text("The model is slow to start")
    site.actor.pause_s = 1.5
    site.actor.held.set()
    expect(replies(page).nth(1)).to_contain_text("You")
    assert "slow to start" not in replies(page).nth(1).inner_text()
    assert replies(page).nth(1).get_attribute("aria-busy") == "true"
    expect(replies(page).nth(1)).to_contain_text("You said: Anyone there?")
    expect(replies(page).nth(1)).not_to_contain_text("slow to start")
