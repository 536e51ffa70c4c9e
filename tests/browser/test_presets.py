"""Presets by hand: made in a page, picked with a slash, filled in, kept for a chat, changed and brought back."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from chatserver.domain.messages import text_of
from tests.browser.stage import Site, ask, ask_and_wait, replies
from tests.browser.test_access import assert_clean
from tests.browser.test_hostile import ATTACKS

pytestmark = pytest.mark.browser

Visit = Callable[..., Page]
Shoot = Callable[[Page, str], None]


def make(page: Page, site: Site, name: str, **texts: str) -> None:
    page.goto(site.url + "/x/presets/new")
    page.get_by_label("Name").fill(name)
    for label, text in texts.items():
        page.get_by_label(label.replace("_", " ")).fill(text)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status").first).to_contain_text("Saved as version 1")


def system_prompts(site: Site) -> list[str]:
    """Of the last request that a person made: titles are asked for by the house."""
    asked = next(one for one in reversed(site.actor.requests) if not str(one.messages[-1].parts).count("user: "))
    return [text_of(message.parts) for message in asked.messages if message.role == "system"]


def test_a_preset_is_made_picked_with_a_slash_and_filled_in(visit: Visit, site: Site, shoot: Shoot) -> None:
    page = visit()
    page.get_by_role("link", name="Presets").click()
    page.get_by_role("link", name="New preset").click()
    page.get_by_label("Name").fill("City guide")
    page.get_by_label("Instructions").fill("You are a guide to {{city}}.")
    page.get_by_label("Added to each question").fill("Be {{tone}}.")
    page.get_by_label("Model").select_option("thinker")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status").first).to_contain_text("Saved as version 1")
    shoot(page, "preset-edit")
    make(page, site, "Plain words", Instructions="No jargon.")
    page.goto(site.url)
    box = page.get_by_role("textbox", name="Message")
    box.press_sequentially("/ci")
    options = page.get_by_role("listbox", name="Presets").get_by_role("option")
    expect(options).to_have_count(1)
    shoot(page, "preset-slash")
    box.press("Enter")
    expect(box).to_have_value("")
    expect(page.get_by_role("button", name="Remove preset City guide")).to_be_visible()
    expect(page.get_by_role("button", name="Model Thinker")).to_be_visible()
    expect(page.get_by_label("city", exact=True)).to_be_focused()
    page.keyboard.type("Oslo")
    page.keyboard.press("Tab")
    page.keyboard.type("brief")
    shoot(page, "preset-filled")
    ask_and_wait(page, "Where to eat?")
    assert system_prompts(site) == ["You are a guide to Oslo."]
    expect(replies(page).nth(0)).to_contain_text("Where to eat?")
    expect(replies(page).nth(0)).not_to_contain_text("Be brief")
    page.reload()
    expect(page.get_by_label("city", exact=True)).to_have_value("Oslo")
    page.get_by_label("tone", exact=True).fill("")
    ask(page, "And to sleep?")
    expect(page.get_by_label("tone", exact=True)).to_be_focused()
    expect(box).to_have_value("And to sleep?")
    page.get_by_label("tone", exact=True).fill("long")
    page.get_by_role("button", name="Send").click()
    expect(replies(page)).to_have_count(4)
    expect(replies(page).last).to_have_attribute("data-state", "done")
    page.get_by_role("button", name="Remove preset City guide").click()
    expect(page.get_by_label("city", exact=True)).to_have_count(0)
    ask_and_wait(page, "Thanks")
    assert system_prompts(site) == []


def test_the_list_is_used_by_keyboard_and_closes(visit: Visit, site: Site) -> None:
    page = visit()
    for name in ("Alpha", "Beta"):
        make(page, site, name, Instructions=f"You are {name}.")
    page.goto(site.url)
    box = page.get_by_role("textbox", name="Message")
    listbox = page.get_by_role("listbox", name="Presets")
    box.press_sequentially("/")
    expect(listbox.get_by_role("option")).to_have_count(2)
    box.press("Escape")
    expect(listbox).to_have_count(0)
    expect(box).to_have_value("/")
    box.press_sequentially("usr/bin is a folder")
    expect(listbox).to_have_count(0)
    box.fill("")
    box.press_sequentially("/nosuch")
    expect(page.get_by_text("No preset of that name")).to_be_visible()
    box.fill("")
    page.get_by_role("button", name="Presets", exact=True).focus()
    page.keyboard.press("Enter")
    expect(listbox).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Remove preset Beta")).to_be_visible()
    expect(box).to_be_focused()
    ask_and_wait(page, "/ is a slash")
    assert system_prompts(site) == ["You are Beta."]


def test_a_branch_keeps_its_preset_and_another_has_none(visit: Visit, site: Site) -> None:
    page = visit()
    make(page, site, "Poet", Instructions="Rhyme.")
    page.goto(site.url)
    ask_and_wait(page, "Plain")
    page.get_by_role("textbox", name="Message").press_sequentially("/poet")
    expect(page.get_by_role("option", name=re.compile("^Poet"))).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Remove preset Poet")).to_be_visible()
    ask_and_wait(page, "In verse")
    replies(page).nth(2).get_by_role("button", name="Edit", exact=True).click()
    page.get_by_role("textbox", name="Edit message").fill("In verse, again")
    page.get_by_role("button", name="Save").click()
    expect(replies(page).nth(2)).to_contain_text("2/2")
    expect(replies(page).last).to_have_attribute("data-state", "done")
    assert system_prompts(site) == ["Rhyme."]
    page.get_by_role("link", name="New chat").click()
    expect(replies(page)).to_have_count(0)
    expect(page.get_by_role("button", name="Remove preset Poet")).to_have_count(0)
    page.go_back()
    expect(page.get_by_role("button", name="Remove preset Poet")).to_be_visible()


def test_versions_are_read_and_brought_back_and_a_preset_is_deleted_with_undo(
    visit: Visit, site: Site, shoot: Shoot
) -> None:
    page = visit()
    make(page, site, "Guide", Instructions="First.")
    page.get_by_label("Instructions").fill("Second.")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("link", name="Version 2").click()
    shoot(page, "preset-versions")
    page.get_by_role("link", name=re.compile("^Version 1")).click()
    expect(page.locator("pre")).to_have_text("First.")
    shoot(page, "preset-version")
    page.get_by_role("button", name="Bring back").click()
    expect(page.get_by_label("Instructions")).to_have_value("First.")
    expect(page.get_by_role("status").first).to_contain_text("Saved as version 3")
    page.get_by_role("link", name="Presets").click()
    shoot(page, "preset-list")
    page.get_by_role("button", name="Delete Guide").click()
    expect(page.get_by_text("“Guide” is deleted.")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    page.get_by_role("link", name="Use Guide").click()
    expect(page.get_by_role("button", name="Remove preset Guide")).to_be_visible()
    ask_and_wait(page, "Hello")
    assert system_prompts(site) == ["First."]


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 390)])
def test_presets_are_clean_to_axe(visit: Visit, site: Site, shoot: Shoot, scheme: str, width: int) -> None:
    page = visit("/x/presets/", scheme=scheme, width=width, touch=width < 800)
    assert_clean(page)
    make(page, site, "City guide with a name that is rather long", Instructions="{{city}} and {{tone}}")
    assert_clean(page)
    shoot(page, f"preset-edit-{scheme}-{width}")
    page.goto(site.url + "/x/presets/")
    shoot(page, f"preset-list-{scheme}-{width}")
    assert_clean(page)
    page.goto(site.url)
    page.get_by_role("textbox", name="Message").press_sequentially("/")
    expect(page.get_by_role("option")).to_have_count(1)
    shoot(page, f"preset-slash-{scheme}-{width}")
    assert_clean(page)
    page.keyboard.press("Enter")
    expect(page.get_by_label("city", exact=True)).to_be_focused()
    shoot(page, f"preset-chip-{scheme}-{width}")
    assert_clean(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_without_a_script_a_preset_is_used_too(visit: Visit, site: Site) -> None:
    page = visit("/x/presets/new", script=False)
    page.get_by_label("Name").fill("Guide")
    page.get_by_label("Instructions").fill("You know {{city}}.")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("link", name="Use", exact=True).click()
    page.get_by_label("city", exact=True).fill("Oslo")
    page.get_by_role("textbox", name="Message").fill("Hello")
    page.get_by_role("button", name="Send").click()
    expect(replies(page).nth(1)).to_contain_text("You said: Hello")
    assert system_prompts(site) == ["You know Oslo."]
    page.get_by_role("combobox", name="Preset").select_option("")


def test_hostile_presets_are_text_everywhere(visit: Visit, site: Site) -> None:
    page = visit()
    hostile = "\n".join(ATTACKS)
    for attack in ATTACKS[:4]:
        make(page, site, attack[:80], Instructions=hostile + " {{city}}", Added_to_each_question=hostile)
        assert page.evaluate("window.pwned") is None
    where = page.url.partition("?")[0]
    for path in (where, f"{where}/versions", f"{where}/versions/1", f"{site.url}/x/presets/"):
        page.goto(path)
        assert page.evaluate("window.pwned") is None
        assert page.locator("#main").count() == 1 and page.locator("main script, main img, main iframe").count() == 0
    page.get_by_role("link", name="Use <script>").click()
    page.get_by_label("city", exact=True).fill(ATTACKS[1])
    ask_and_wait(page, "Hello")
    page.reload()
    expect(page.get_by_label("city", exact=True)).to_have_value(ATTACKS[1])
    page.get_by_role("textbox", name="Message").press_sequentially("/")
    expect(page.get_by_role("listbox", name="Presets").get_by_role("option")).to_have_count(4)
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name=re.compile("^Remove preset <img"))).to_be_visible()
    assert page.evaluate("window.pwned") is None
    assert page.locator("#composer script, #composer img").count() == 0
