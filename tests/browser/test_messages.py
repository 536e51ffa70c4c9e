"""What one does with a message besides reading it, and what a chat is set to: by mouse, by keys, on a phone, bare."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from chatserver.domain.access import Account
from tests.browser.gallery import ANSWER
from tests.browser.stage import Site, ask_and_wait, pick, replies, wait_until
from tests.browser.test_access import assert_clean
from tests.browser.test_hostile import assert_harmless

pytestmark = pytest.mark.browser

Visit = Callable[..., Page]
Shoot = Callable[[Page, str], None]
HOSTILE = "<img src=x onerror=window.pwned=1><script>window.pwned=1</script>{{ 7*7 }}'\""


def open_menu(article: Locator) -> None:
    article.get_by_label("More", exact=True).click()
    expect(article.get_by_role("button", name="Quote")).to_be_visible()


def clipboard(page: Page) -> str:
    return str(page.evaluate("navigator.clipboard.readText()"))


def test_a_reply_is_rewritten_with_a_look_at_it_before(visit: Visit, site: Site, shoot: Shoot) -> None:
    page = visit()
    ask_and_wait(page, "Say it")
    reply = replies(page).nth(1)
    reply.get_by_role("button", name="Edit", exact=True).click()
    box = page.get_by_role("textbox", name="Edit message")
    box.fill("# Now\n\nWith **weight** <img src=x onerror=window.pwned=1>")
    page.get_by_role("button", name="Preview").click()
    expect(reply.locator(".preview strong")).to_have_text("weight")
    expect(box).to_be_hidden()
    shoot(page, "edit-preview")
    assert_clean(page)
    assert_harmless(page)
    page.get_by_role("button", name="Preview").click()
    expect(box).to_be_focused()
    page.get_by_role("button", name="Preview").click()
    expect(reply.locator(".preview")).to_be_visible()
    page.get_by_role("button", name="Save").click()
    expect(replies(page).nth(1).locator("strong")).to_have_text("weight")
    expect(replies(page).nth(1)).to_contain_text("2/2")


def test_a_message_is_copied_as_text_with_formatting_and_as_a_link(visit: Visit, site: Site) -> None:
    page = visit()
    site.actor.answers["Which layout?"] = ANSWER
    ask_and_wait(page, "Which layout?")
    ask_and_wait(page, "Further down")
    reply = replies(page).nth(1)
    open_menu(reply)
    reply.get_by_role("button", name="Copy as plain text").click()
    expect(page.locator("#live")).to_have_text("Copied")
    assert "adjacency list" in clipboard(page) and "**" not in clipboard(page)
    open_menu(reply)
    reply.get_by_role("button", name="Copy with formatting").click()
    types = "navigator.clipboard.read().then(([item]) => item.types)"
    wait_until(lambda: "text/html" in page.evaluate(types))
    kinds = "navigator.clipboard.read().then(async ([item]) => (await (await item.getType('text/html')).text()))"
    html = str(page.evaluate(kinds))
    assert "<strong>adjacency list</strong>" in html and "<button" not in html
    open_menu(reply)
    reply.get_by_role("button", name="Copy link").click()
    expect(reply.get_by_role("button", name="Quote")).to_have_count(0)
    page.goto(clipboard(page))
    expect(replies(page)).to_have_count(4)
    expect(replies(page).nth(1)).to_have_class(re.compile("found"))


def test_picked_words_are_quoted(visit: Visit, site: Site, shoot: Shoot) -> None:
    page = visit()
    site.actor.answers["Which layout?"] = ANSWER
    ask_and_wait(page, "Which layout?")
    box = page.get_by_role("textbox", name="Message")
    box.fill("As you say:")
    prose = replies(page).nth(1).locator("[data-part=text]")
    prose.locator("p").first.click(click_count=3)
    page.get_by_role("button", name="Quote").click()
    expect(box).to_be_focused()
    expect(box).to_have_value(re.compile(r"^As you say:\n\n> Keep it plain: an adjacency list .*\n\n$"))
    expect(page.get_by_role("button", name="Quote")).to_be_hidden()
    # by keyboard: Tab leads from the words to the button
    box.fill("")
    page.evaluate("getSelection().selectAllChildren(document.querySelector('.bubble'))")
    expect(page.get_by_role("button", name="Quote")).to_be_visible()
    shoot(page, "quote")
    assert_clean(page)
    page.get_by_role("button", name="Quote").focus()
    page.keyboard.press("Enter")
    expect(box).to_have_value("> Which layout?\n\n")
    # without a selection the menu quotes the whole message
    box.fill("")
    open_menu(replies(page).nth(0))
    replies(page).nth(0).get_by_role("button", name="Quote").click()
    expect(box).to_have_value("> Which layout?\n\n")


def test_the_menu_goes_by_keyboard(visit: Visit, site: Site) -> None:
    page = visit()
    ask_and_wait(page, "Hello")
    reply = replies(page).nth(1)
    more = reply.get_by_label("More", exact=True)
    more.focus()
    page.keyboard.press("Enter")
    expect(reply.get_by_role("button", name="Copy as plain text")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(reply.get_by_role("button", name="Copy with formatting")).to_be_focused()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    expect(reply.get_by_role("button", name="What was sent")).to_be_focused()
    page.keyboard.press("Escape")
    expect(more).to_be_focused()
    expect(reply.get_by_role("button", name="What was sent")).to_have_count(0)
    expect(more).to_have_attribute("aria-expanded", "false")
    page.keyboard.press("Enter")
    expect(reply.get_by_role("button", name="Copy as plain text")).to_be_focused()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="What was sent")
    expect(dialog).to_be_visible()
    expect(dialog.get_by_role("button", name="Close")).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()


def test_another_model_answers_the_same_question(visit: Visit, site: Site, shoot: Shoot) -> None:
    page = visit()
    ask_and_wait(page, "Again please")
    button = replies(page).nth(1).get_by_role("button", name="Try another")
    button.press("Enter")
    models = page.get_by_role("listbox", name="Try another model")
    expect(models).to_be_focused()
    shoot(page, "again")
    assert_clean(page)
    page.keyboard.press("Escape")
    expect(button).to_be_focused()
    button.press("Enter")
    page.keyboard.press("t")
    page.keyboard.press("Enter")
    expect(replies(page).nth(1)).to_contain_text("2/2")
    expect(replies(page).nth(1)).to_contain_text("Thinker")
    expect(replies(page).nth(1)).to_have_attribute("data-state", "done")
    expect(page.get_by_role("button", name="Model Thinker")).to_be_visible()


def test_feedback_is_given_explained_changed_and_taken_back(visit: Visit, site: Site, shoot: Shoot) -> None:
    page = visit()
    ask_and_wait(page, "Hello")
    reply = replies(page).nth(1)
    good, bad = (reply.get_by_role("button", name=name) for name in ("Good answer", "Bad answer"))
    bad.click()
    dialog = page.get_by_role("dialog", name="A bad answer")
    expect(dialog).to_be_visible()
    expect(page.locator("[aria-label='Bad answer']")).to_have_attribute("aria-pressed", "true")
    shoot(page, "feedback")
    assert_clean(page)
    page.keyboard.press("Escape")
    expect(bad).to_be_focused()
    page.reload()
    expect(bad).to_have_attribute("aria-pressed", "true")
    bad.click()
    dialog.get_by_label("Too long").check()
    dialog.get_by_label("In your own words").fill(HOSTILE)
    dialog.get_by_role("button", name="Keep").click()
    expect(dialog).to_be_hidden()
    expect(bad).to_be_focused()
    bad.click()
    expect(dialog.get_by_label("Too long")).to_be_checked()
    expect(dialog.get_by_label("In your own words")).to_have_value(HOSTILE)
    assert_harmless(page)
    page.keyboard.press("Escape")
    good.click()
    dialog = page.get_by_role("dialog", name="A good answer")
    expect(dialog.get_by_label("In your own words")).to_have_value("")
    dialog.get_by_role("button", name="Take it back").click()
    expect(dialog).to_be_hidden()
    for button in (good, bad):
        expect(button).to_have_attribute("aria-pressed", "false")


def test_a_chat_is_tuned_and_what_was_sent_tells_of_it(visit: Visit, site: Site, shoot: Shoot) -> None:
    page = visit()
    pick(page, "Thinker")
    page.get_by_role("textbox", name="Message").fill("Typed before")
    page.get_by_role("button", name="Chat settings").click()
    dialog = page.get_by_role("dialog", name="Chat settings")
    dialog.get_by_label("System prompt").fill(f"Answer in verse. {HOSTILE}")
    dialog.get_by_label("Temperature").fill("hot")
    dialog.get_by_label("High").check()
    shoot(page, "tuning")
    assert_clean(page)
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_role("alert")).to_contain_text("A temperature is a number")
    expect(dialog.get_by_label("System prompt")).to_have_value(f"Answer in verse. {HOSTILE}")
    expect(dialog.get_by_label("Temperature")).to_have_value("hot")
    dialog.get_by_label("Temperature").fill("0,5")
    dialog.get_by_label("Longest answer").fill("1 000")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_be_hidden()
    expect(page).to_have_url(re.compile("/c/"))
    expect(page.get_by_role("textbox", name="Message")).to_have_value("Typed before")
    expect(page.get_by_role("button", name="Model Thinker")).to_be_visible()
    wait_until(lambda: page.evaluate("localStorage.getItem('draft:new')") is None)
    page.reload()
    expect(page.get_by_role("textbox", name="Message")).to_have_value("Typed before")
    expect(page.get_by_role("button", name="Model Thinker")).to_be_visible()
    page.keyboard.press("Enter")
    expect(replies(page).last).to_have_attribute("data-state", "done")
    asked = next(one for one in site.actor.requests if one.max_output == 1000)
    assert asked.messages[0].parts[0].text == f"Answer in verse. {HOSTILE}"  # type: ignore[union-attr]
    assert (asked.max_output, asked.parameters["temperature"]) == (1000, 0.5)
    assert asked.parameters["reasoning_effort"] == "high"

    open_menu(replies(page).last)
    replies(page).last.get_by_role("button", name="What was sent").click()
    dialog = page.get_by_role("dialog", name="What was sent")
    expect(dialog).to_contain_text("2 messages")
    expect(dialog).to_contain_text("0.5")
    dialog.get_by_text("Answer in verse").first.click()
    expect(dialog.locator("pre").first).to_have_text(f"Answer in verse. {HOSTILE}")
    shoot(page, "prompt")
    assert_clean(page)
    assert_harmless(page)


@pytest.mark.parametrize(("scheme", "width"), [("dark", 390), ("light", 390)])
def test_on_a_phone_nothing_is_cut_and_everything_can_be_pressed(
    visit: Visit, site: Site, shoot: Shoot, scheme: str, width: int
) -> None:
    page = visit("/", scheme=scheme, width=width, touch=True)
    ask_and_wait(page, "From a phone, with a question that takes more than one line to ask")
    ask_and_wait(page, "And another")
    replies(page).nth(0).get_by_role("button", name="Edit", exact=True).tap()
    page.get_by_role("textbox", name="Edit message").fill("From a phone")
    page.get_by_role("button", name="Save").tap()
    expect(page.get_by_text("2/2")).to_be_visible()
    expect(replies(page).last).to_have_attribute("data-state", "done")
    for name in ("Copy", "Edit", "Fork", "Delete"):
        box = replies(page).nth(0).get_by_role("button", name=name, exact=True).bounding_box()
        assert box is not None and box["width"] >= 24 and box["height"] >= 24 and box["x"] + box["width"] <= width
    replies(page).last.get_by_label("More", exact=True).tap()
    expect(replies(page).last.get_by_role("button", name="Good answer")).to_be_visible()
    shoot(page, f"more-{scheme}-{width}")
    assert_clean(page)
    replies(page).last.get_by_role("button", name="Good answer").tap()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.get_by_role("dialog").get_by_role("button", name="Keep").tap()
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(replies(page).last.get_by_role("button", name="Good answer")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_without_a_script_all_of_it_is_a_page(visit: Visit, site: Site) -> None:
    page = visit("/")
    ask_and_wait(page, "Bare")
    plain = visit(f"/{page.url.split('/', 3)[3]}", script=False)
    plain.get_by_role("button", name="Chat settings").click()
    plain.get_by_label("System prompt").fill("Be brief.")
    plain.get_by_label("Temperature").fill("9")
    plain.get_by_role("button", name="Save").click()
    expect(plain.get_by_role("alert")).to_contain_text("from 0 to 2")
    expect(plain.get_by_label("System prompt")).to_have_value("Be brief.")
    plain.get_by_label("Temperature").fill("1")
    plain.get_by_role("button", name="Save").click()
    replies(plain).nth(1).get_by_role("button", name="Bad answer").click()
    plain.get_by_label("Incomplete").check()
    plain.get_by_role("button", name="Keep").click()
    expect(replies(plain).nth(1).get_by_role("button", name="Bad answer")).to_have_attribute("aria-pressed", "true")
    replies(plain).nth(1).get_by_role("button", name="More", exact=True).click()
    plain.get_by_label("Another model").select_option("thinker")
    plain.get_by_role("button", name="Try it").click()
    expect(replies(plain).nth(1)).to_contain_text("2/2")
    # It asks for itself again while it is written.
    expect(replies(plain).nth(1)).to_have_attribute("data-state", "done")
    replies(plain).nth(1).get_by_role("button", name="More", exact=True).click()
    plain.get_by_role("button", name="What was sent").click()
    expect(plain.get_by_text("Be brief.").first).to_be_visible()
    plain.get_by_role("button", name="Close").click()
    replies(plain).nth(1).get_by_role("button", name="Edit", exact=True).click()
    plain.get_by_role("textbox", name="Edit message").fill("Not **this**")
    plain.get_by_role("button", name="Preview").click()
    expect(plain.locator(".preview strong")).to_have_text("this")
    expect(plain.get_by_role("textbox", name="Edit message")).to_have_value("Not **this**")


def test_a_new_chat_begins_with_the_accounts_model(visit: Visit, site: Site, account: Account) -> None:
    page = visit()
    pick(page, "Waiter")
    page.reload()
    expect(page.get_by_role("button", name="Model Waiter")).to_be_visible()
    cookie = page.context.cookies()[0]["value"]
    actor = site.call(lambda: site.house.accounts.actor_of_cookie(cookie))
    site.call(lambda: site.house.accounts.set_settings(actor, {"default_model": "thinker"}))
    page.reload()
    expect(page.get_by_role("button", name="Model Thinker")).to_be_visible()
    pick(page, "Swift")
    ask_and_wait(page, "With another, once")
    page.reload()
    expect(page.get_by_role("button", name="Model Swift")).to_be_visible()
    page.get_by_role("link", name="New chat").click()
    expect(replies(page)).to_have_count(0)
    expect(page.get_by_role("button", name="Model Thinker")).to_be_visible()
