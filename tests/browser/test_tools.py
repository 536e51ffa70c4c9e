"""Tools on the page: blocks that come and end while one watches, a question that is answered, nothing hostile runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from chatserver.domain.extend import ToolSpec
from chatserver.domain.tools import ToolOutcome, ToolUse
from chatserver.domain.turns import ToolCallDelta
from tests.browser.stage import Site, ask, replies

pytestmark = pytest.mark.browser

Visit = Callable[..., Page]
Shoot = Callable[[Page, str], None]
EVIL = "<img src=x onerror=window.pwned=1></pre></details><script>window.pwned=1</script>"
FORECAST = """{"place": "Oslo", "days": [
  {"date": "2026-03-05", "low": -2, "high": 4, "sky": "clear"},
  {"date": "2026-03-06", "low": 0, "high": 6, "sky": "light rain"}
]}"""


class Made:
    def __init__(self, name: str, answer: str, *, needs_consent: bool = False, is_error: bool = False) -> None:
        self.spec = ToolSpec(name, "Does it.", {"type": "object"})
        self.needs_consent = needs_consent
        self.free = threading.Event()
        self.free.set()
        self._outcome = ToolOutcome(answer, is_error)

    async def call(self, arguments: dict[str, Any], use: ToolUse) -> ToolOutcome:
        while not self.free.is_set():
            await asyncio.sleep(0.01)
        return self._outcome


@pytest.fixture
def tools(site: Site) -> Iterator[dict[str, Made]]:
    made = [
        Made("weather__forecast", FORECAST),
        Made("search__web", "The search engine is not there.", is_error=True),
        Made("mail__send", f"Sent. {EVIL}", needs_consent=True),
    ]
    site.actor.tools[:] = made
    yield {tool.spec.name: tool for tool in made}
    site.actor.tools.clear()
    site.actor.tool_rounds.clear()


def test_tools_come_run_ask_and_end_before_ones_eyes(
    visit: Visit, site: Site, tools: dict[str, Made], shoot: Shoot
) -> None:
    question = "Is it cold in Oslo? Tell Bob."
    mail = f'{{"to": "bob@example.org", "text": "{EVIL}"}}'
    site.actor.tool_rounds[question] = [
        [ToolCallDelta("a", "weather__forecast", '{"place": "Oslo"}'), ToolCallDelta("b", "search__web", "{}")],
        [ToolCallDelta("c", "mail__send", mail)],
    ]
    site.actor.answers[question] = "It is **-2 to 4 degrees** there, and Bob knows."
    tools["weather__forecast"].free.clear()
    page = visit("/")
    ask(page, question)
    reply = replies(page).last
    running = reply.locator("details.tool[data-state=running]")
    expect(running).to_have_count(1)
    expect(running).to_contain_text("weather · forecast")
    expect(running).not_to_have_attribute("open", "")
    failed = reply.locator("details.tool[data-state=failed]")
    expect(failed).to_contain_text("Did not work")
    expect(reply).to_have_attribute("aria-busy", "true")
    shoot(page, "tools-running")
    tools["weather__forecast"].free.set()
    asks = reply.locator("details.tool[data-state=asks]")
    expect(asks.get_by_role("button", name="Allow once")).to_be_visible()
    expect(asks).to_contain_text("bob@example.org")

    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
        for width in (1440, 390):
            page.set_viewport_size({"width": width, "height": 900})
            shoot(page, f"tools-asks-{scheme}-{width}")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            result = Axe().run(page)
            assert result.violations_count == 0, result.generate_report()

    page.reload()
    tools["mail__send"].free.clear()
    asks.get_by_role("button", name="Allow once").focus()
    page.keyboard.press("Enter")
    expect(reply.locator("details.tool[data-state=running]")).to_contain_text("mail · send")
    expect(reply.get_by_role("button", name="Allow once")).to_have_count(0)
    tools["mail__send"].free.set()
    expect(reply).to_have_attribute("data-state", "done")
    done = reply.locator("details.tool[data-state=done]")
    expect(done).to_have_count(2)
    done.first.locator("summary").click()
    expect(done.first).to_contain_text('"sky": "clear"')
    done.last.locator("summary").click()
    expect(done.last).to_contain_text("<script>window.pwned=1</script>")
    assert page.evaluate("window.pwned") is None
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        shoot(page, f"tools-done-{scheme}-390")
        result = Axe().run(page)
        assert result.violations_count == 0, result.generate_report()


def test_without_a_script_one_reads_and_answers(visit: Visit, site: Site, tools: dict[str, Made]) -> None:
    site.actor.tool_rounds["Write to Bob."] = [[ToolCallDelta("c", "mail__send", '{"to": "bob"}')]]
    page = visit("/", script=False)
    ask(page, "Write to Bob.")
    # The page asks for itself again every two seconds, for want of a script.
    page.get_by_role("button", name="Decline").click()
    expect(page.locator("details.tool[data-state=failed]")).to_contain_text("The person declined this call.")
