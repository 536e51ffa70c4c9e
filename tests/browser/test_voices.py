"""Read aloud: a bar in the hand, sound that begins with the first sentence, pause, next, the end; by keyboard, too."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.stage import Site, ask_and_wait, replies

pytestmark = pytest.mark.browser

LONG = " ".join(
    f"This is sentence number {number} of a rather long answer, and it takes its time." for number in range(4)
)


def test_a_message_is_read_aloud(visit: Callable[..., Page], site: Site, shoot: Callable[[Page, str], None]) -> None:
    site.actor.answers["Tell me a story."] = LONG
    page = visit(width=390, scheme="dark")
    ask_and_wait(page, "Tell me a story.")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/x/voices/speak" in request.url else None)
    button = replies(page).last.get_by_role("button", name="Read aloud")
    button.click()
    bar = page.get_by_role("region", name="Reading aloud")
    expect(bar).to_contain_text("Reading aloud 1/")
    expect(button).to_have_attribute("aria-pressed", "true")
    shoot(page, "read-aloud-dark-390")
    result = Axe().run(page)
    assert result.violations_count == 0, result.generate_report()
    bar.get_by_role("button", name="Pause").focus()
    page.keyboard.press("Enter")
    expect(bar).to_contain_text("Paused")
    page.keyboard.press("Enter")
    expect(bar).to_contain_text("Reading aloud")
    bar.get_by_role("button", name="Next sentence").click()
    expect(bar).to_contain_text("Reading aloud 2/")
    bar.get_by_label("Speed").select_option("2.0")
    bar.get_by_role("button", name="Stop reading").click()
    expect(bar).to_have_count(0)
    expect(button).to_be_focused()
    expect(button).to_have_attribute("aria-pressed", "false")
    assert len(asked) >= 2


def test_without_a_voice_the_reason_is_told(visit: Callable[..., Page], site: Site) -> None:
    page = visit()
    ask_and_wait(page, "Say it.")
    page.route(
        "**/x/voices/speak",
        lambda route: route.fulfill(
            status=404,
            json={"error": {"code": "no_voice", "message": "No voice is installed here.", "request_id": "r"}},
        ),
    )
    replies(page).last.get_by_role("button", name="Read aloud").click()
    expect(page.get_by_role("alert")).to_contain_text("No voice is installed here.")
    expect(page.get_by_role("region", name="Reading aloud")).to_have_count(0)
