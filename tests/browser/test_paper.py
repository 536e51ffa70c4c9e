"""A chat on paper, light and whole and without the house around it; and a chat as a file."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.gallery import ANSWER
from tests.browser.stage import Site, ask_and_wait, replies

pytestmark = pytest.mark.browser

Visit = Callable[..., Page]
Shoot = Callable[[Page, str], None]
WIDE = f"{ANSWER}\n\n```text\n{'a line that would run out of the paper ' * 12}\n```\n"


def test_a_printed_chat_is_clean(visit: Visit, site: Site, shoot: Shoot) -> None:
    page = visit("/", scheme="dark")
    site.actor.answers["Which layout?"] = WIDE
    ask_and_wait(page, "Which layout?")
    site.talk(page, 12)
    page.goto(page.url.rpartition("/")[0])
    expect(replies(page)).to_have_count(26)
    page.set_viewport_size({"width": 794, "height": 1123})
    page.emulate_media(media="print", color_scheme="dark")
    shoot(page, "print")
    for name in ("Message", "Search"):
        expect(page.get_by_label(name, exact=True)).to_be_hidden()
    for button in ("Copy", "Edit", "Regenerate", "Copy code"):
        expect(page.get_by_role("button", name=button, exact=True).first).to_be_hidden()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(replies(page).first).to_be_visible()
    ink = page.locator(".prose").first.evaluate("one => getComputedStyle(one).color")
    lightness = float(re.findall(r"[\d.]+", ink)[0])
    assert lightness < 0.5, f"dark ink on white paper, not {ink}"
    code = page.locator(".code pre").last
    assert code.evaluate("one => one.scrollWidth <= one.clientWidth"), "code wraps"
    link = page.get_by_role("link", name="the manual")
    shown = link.evaluate("one => getComputedStyle(one, '::after').content")
    assert shown == '" (https://sqlite.org/lang_with.html)"'
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("document.querySelector('#view').scrollHeight <= document.querySelector('#view').clientHeight")
    page.emulate_media(media="screen")
    pages = len(re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4")))
    assert pages > 1, "all of it is printed, not what fits the window"


@pytest.mark.parametrize("script", [True, False])
def test_a_chat_is_taken_away_as_a_file(visit: Visit, script: bool) -> None:
    page = visit()
    ask_and_wait(page, "Where to?")
    if script:
        page.get_by_label("More about this chat").click()
        page.get_by_role("button", name="Export").click()
    else:
        page = visit(f"/c/{page.url.split('/')[-2]}/about/export", script=False)
    page.get_by_label("JSON").check()
    page.get_by_label("What to export").select_option("tree")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename.endswith(".json")
    chat = json.loads(download.value.path().read_text())
    assert [message["parts"][0]["text"] for message in chat["messages"]] == ["Where to?", "You said: Where to?"]
