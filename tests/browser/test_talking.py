"""A person talks to a model: send, stream, stop, come back, draft, errors."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from chatserver.chat.imports import Imports
from chatserver.domain.access import Account, Actor
from chatserver.domain.imported import ImportedConversation, ImportedMessage
from chatserver.domain.messages import TextPart
from tests.browser.stage import Site, ask, pick, replies, write

pytestmark = pytest.mark.browser

Visit = Callable[..., Page]


def test_question_is_answered_without_a_reload(visit: Visit, site: Site) -> None:
    page = visit()
    page.evaluate("window.stays = true")
    ask(page, "Hello there")
    expect(replies(page)).to_have_count(2)
    expect(replies(page).nth(0)).to_contain_text("Hello there")
    expect(replies(page).nth(1)).to_contain_text("You said: Hello there")
    expect(replies(page).nth(1)).to_have_attribute("aria-busy", "false")
    expect(page).to_have_url(re.compile(r"/c/[0-9a-z]{26}/[0-9a-z]{26}$"))
    expect(page.get_by_role("textbox", name="Message")).to_be_focused()
    assert page.evaluate("window.stays")


def test_chat_gets_a_title_and_a_line_in_the_sidebar(visit: Visit) -> None:
    page = visit()
    ask(page, "What is a leaf?")
    expect(page.get_by_role("heading", level=1)).to_have_text("A fine title")
    expect(page.get_by_role("navigation", name="Chats").get_by_role("link", name="A fine title")).to_be_visible()
    expect(page).to_have_title("A fine title · chatserver")


def test_enter_sends_and_shift_enter_makes_a_line(visit: Visit) -> None:
    page = visit()
    box = page.get_by_role("textbox", name="Message")
    box.press_sequentially("one")
    box.press("Shift+Enter")
    box.press_sequentially("two")
    expect(box).to_have_value("one\ntwo")
    box.press("Enter")
    expect(replies(page).nth(0)).to_contain_text("one\ntwo")


def test_enter_that_ends_a_composition_does_not_send(visit: Visit) -> None:
    page = visit()
    box = page.get_by_role("textbox", name="Message")
    box.fill("預設")
    for init in ("{key: 'Enter', isComposing: true}", "{key: 'Enter', keyCode: 229}"):
        box.evaluate(
            f"box => box.dispatchEvent(new KeyboardEvent('keydown', {{bubbles: true, cancelable: true, ...{init}}}))"
        )
    expect(replies(page)).to_have_count(0)
    expect(box).to_have_value("預設")


def test_answer_streams_and_stops_where_it_is(visit: Visit, site: Site) -> None:
    page = visit()
    pick(page, "Waiter")
    site.actor.answers["Count"] = "one two three four five six seven eight nine ten eleven twelve"
    ask(page, "Count")
    reply = replies(page).nth(1)
    expect(reply).to_contain_text("one two three")
    expect(reply).to_have_attribute("aria-busy", "true")
    expect(page.get_by_role("button", name="Send")).to_be_hidden()
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(reply).to_have_attribute("aria-busy", "false")
    expect(reply).to_contain_text("one two three")
    expect(reply).to_contain_text("Stopped")
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    site.actor.held.set()
    page.get_by_role("button", name="Continue").click()
    expect(replies(page)).to_have_count(3)
    expect(replies(page).nth(2)).to_have_attribute("aria-busy", "false")
    # the model says it all again, at once after what was kept: one paragraph, in one place
    expect(replies(page).nth(2).locator("[data-part=text] p")).to_have_count(1)
    expect(replies(page).nth(2)).to_contain_text(re.compile(r"one two three.*one two three four"))
    expect(replies(page).nth(1).locator("[data-part=text]")).to_have_text("")


def test_reload_in_mid_stream_goes_on(visit: Visit, site: Site) -> None:
    page = visit()
    pick(page, "Waiter")
    site.actor.answers["Long"] = "alpha beta gamma delta epsilon zeta eta theta iota kappa"
    ask(page, "Long")
    expect(replies(page).nth(1)).to_contain_text("alpha beta gamma")
    page.reload()
    expect(replies(page).nth(1)).to_contain_text("alpha beta gamma")
    expect(replies(page).nth(1)).to_have_attribute("aria-busy", "true")
    site.actor.held.set()
    expect(replies(page).nth(1)).to_contain_text("theta iota kappa")
    expect(replies(page).nth(1)).to_have_attribute("aria-busy", "false")
    assert replies(page).nth(1).inner_text().count("alpha") == 1


def test_two_tabs_see_the_same_answer(visit: Visit, site: Site) -> None:
    page = visit()
    pick(page, "Waiter")
    site.actor.answers["Both"] = "Words for **two** tabs, and a list:\n\n- one\n- two\n"
    ask(page, "Both")
    expect(replies(page).nth(1)).to_contain_text("Words for")
    other = visit(page.url.removeprefix(site.url))
    expect(replies(other).nth(1)).to_contain_text("Words for")
    site.actor.held.set()
    for tab in (page, other):
        expect(replies(tab).nth(1)).to_have_attribute("aria-busy", "false")
    script = "document.querySelectorAll('[role=log] article')[1].querySelector('[data-part=text]').innerHTML"
    assert page.evaluate(script) == other.evaluate(script)


def test_draft_outlives_a_reload_and_only_an_accepted_send_clears_it(visit: Visit, site: Site) -> None:
    page = visit()
    page.get_by_role("textbox", name="Message").press_sequentially("half a thought")
    page.reload()
    expect(page.get_by_role("textbox", name="Message")).to_have_value("half a thought")
    page.route("**/send", lambda route: route.abort())
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    expect(page.get_by_role("textbox", name="Message")).to_have_value("half a thought")
    expect(replies(page)).to_have_count(0)
    page.unroute("**/send")
    page.get_by_role("button", name="Send").click()
    expect(page).to_have_url(re.compile("/c/"))
    page.reload()
    expect(page.get_by_role("textbox", name="Message")).to_have_value("")


def test_reasoning_is_folded_and_can_be_opened(visit: Visit, site: Site) -> None:
    page = visit()
    pick(page, "Thinker")
    ask(page, "Why?")
    reply = replies(page).nth(1)
    expect(reply).to_have_attribute("aria-busy", "false")
    expect(reply.get_by_text("So be it.")).to_be_hidden()
    reply.locator("summary").click()
    expect(reply.get_by_text("So be it.")).to_be_visible()


def test_broken_answer_is_kept_and_says_what_to_do(visit: Visit, site: Site) -> None:
    page = visit()
    pick(page, "Broken")
    site.actor.answers["Break"] = "these words arrive and then the line goes dead before the end"
    ask(page, "Break")
    reply = replies(page).nth(1)
    expect(reply).to_contain_text("The answer was cut off")
    expect(reply).to_contain_text("these words arrive")
    expect(page.get_by_role("button", name="Continue")).to_be_visible()


def test_refused_key_is_told_in_the_reply(visit: Visit) -> None:
    page = visit()
    pick(page, "Refused")
    ask(page, "Hello")
    expect(replies(page).nth(1)).to_contain_text("key was refused")
    expect(replies(page).nth(1).get_by_role("button", name="Regenerate")).to_be_visible()


def test_tokens_and_time_stand_below_a_reply(visit: Visit) -> None:
    page = visit()
    ask(page, "How many tokens are there in this one?")
    expect(replies(page).nth(1).locator(".meta")).to_have_text(re.compile(r"\d+ tokens.*first token"))


def test_code_and_messages_can_be_copied(visit: Visit, site: Site) -> None:
    page = visit()
    site.actor.answers["Code"] = "Look:\n\n```python\nprint('hi')\n```\n\nDone *well*."
    ask(page, "Code")
    reply = replies(page).nth(1)
    expect(reply).to_have_attribute("aria-busy", "false")
    reply.get_by_role("button", name="Copy code").click()
    page.wait_for_function("() => navigator.clipboard.readText().then(text => text === \"print('hi')\")")
    reply.get_by_role("button", name="Copy", exact=True).click()
    page.wait_for_function("() => navigator.clipboard.readText().then(text => text.endsWith('Done *well*.'))")


def test_long_chat_shows_its_end_and_loads_the_rest_without_a_jump(visit: Visit, site: Site) -> None:
    page = visit()
    ask(page, "Question 0")
    expect(replies(page).nth(1)).to_have_attribute("aria-busy", "false")
    conversation = page.url.split("/")[-2]
    site.talk(page, 30)
    page.goto(f"{site.url}/c/{conversation}")
    expect(replies(page).last).to_contain_text("Question 30")
    expect(replies(page).last).to_be_in_viewport()
    assert replies(page).count() == 40
    view = page.get_by_role("log", name="Conversation")
    mark = replies(page).nth(3)
    name = mark.get_attribute("id")
    view.evaluate("(view, id) => { view.scrollTop = document.getElementById(id).offsetTop }", name)
    before = page.locator(f"#{name}").bounding_box()
    expect(replies(page)).to_have_count(62)
    after = page.locator(f"#{name}").bounding_box()
    assert before and after and abs(before["y"] - after["y"]) <= 2


def test_chat_of_ten_thousand_messages_opens_with_as_little_and_scrolls_without_a_jump(
    visit: Visit, site: Site, account: Account
) -> None:
    conversation = site.call(lambda: bring_long_chat(site, account, 10_000), 60)
    page = visit(f"/c/{conversation}")
    expect(replies(page).last).to_contain_text("Message 9999")
    expect(replies(page).last).to_be_in_viewport()
    assert replies(page).count() == 40
    view = page.get_by_role("log", name="Conversation")
    for _ in range(4):
        count = replies(page).count()
        name = replies(page).nth(2).get_attribute("id")
        view.evaluate("(view, id) => { view.scrollTop = document.getElementById(id).offsetTop }", name)
        before = page.locator(f"#{name}").bounding_box()
        expect(replies(page)).not_to_have_count(count)
        after = page.locator(f"#{name}").bounding_box()
        assert before and after and abs(before["y"] - after["y"]) <= 2


async def bring_long_chat(site: Site, account: Account, count: int) -> str:
    messages = tuple(
        ImportedMessage(
            f"m{number}",
            f"m{number - 1}" if number else None,
            "assistant" if number % 2 else "user",
            (TextPart(f"Message {number}, with some words."),),
            created_at=1_700_000_000_000_000 + number,
        )
        for number in range(count)
    )
    imports = Imports(site.house.db, Actor(account, "web"))
    await imports.take(ImportedConversation("long", "A long one", messages, tip_id=f"m{count - 1}"))
    await imports.flush()
    return imports.last_id


def test_view_follows_the_end_only_when_the_reader_is_there(visit: Visit, site: Site) -> None:
    page = visit()
    site.actor.pause_s = 0.01
    site.actor.answers["Much"] = "\n\n".join(
        f"Paragraph {number} of many, with some words in it." for number in range(40)
    )
    ask(page, "Much")
    view = page.get_by_role("log", name="Conversation")
    expect(replies(page).nth(1)).to_contain_text("Paragraph 20")
    assert view.evaluate("view => view.scrollHeight - view.scrollTop - view.clientHeight") < 80
    view.hover()
    page.mouse.wheel(0, -900)
    expect(page.get_by_role("button", name="Jump to latest")).to_be_visible()
    top = view.evaluate("view => view.scrollTop")
    expect(replies(page).nth(1)).to_have_attribute("aria-busy", "false", timeout=20_000)
    assert view.evaluate("view => view.scrollTop") <= top + 2
    page.get_by_role("button", name="Jump to latest").click()
    assert view.evaluate("view => view.scrollHeight - view.scrollTop - view.clientHeight") < 80


def test_offline_is_said_and_nothing_is_lost(visit: Visit, site: Site) -> None:
    page = visit()
    write(page, "keep me")
    page.context.set_offline(True)
    expect(page.get_by_role("alert")).to_contain_text("You are offline")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("textbox", name="Message")).to_have_value("keep me")
    page.context.set_offline(False)
    page.get_by_role("button", name="Send").click()
    expect(replies(page)).to_have_count(2)


def test_screen_readers_hear_writing_and_ready_and_never_a_token(visit: Visit, site: Site) -> None:
    page = visit()
    page.evaluate(
        "window.heard = []; new MutationObserver(() => { const t = document.querySelector('#live').textContent;"
        " if (t) heard.push(t) }).observe(document.querySelector('#live'), {childList: true, subtree: true})"
    )
    ask(page, "Say much")
    expect(replies(page).nth(1)).to_have_attribute("aria-busy", "false")
    page.wait_for_function("() => heard.length >= 2")
    assert page.evaluate("heard") == ["The assistant is writing", "The answer is ready"]
    assert page.get_by_role("log").get_attribute("aria-live") == "off"


def test_caret_stands_where_the_next_word_comes(visit: Visit, site: Site) -> None:
    page = visit()
    pick(page, "Waiter")
    for answer, place in (("Some words that go on and on", "p"), ("- a list that goes on and on", "li")):
        site.actor.held.clear()
        site.actor.answers[answer] = answer
        ask(page, answer)
        expect(replies(page).last).to_contain_text("on")
        last = replies(page).last.locator(f"[data-part=text] {place}").last
        assert last.evaluate("element => getComputedStyle(element, '::after').content") == '""'
        site.actor.held.set()
        expect(replies(page).last).to_have_attribute("data-state", "done")
        last = replies(page).last.locator(f"[data-part=text] {place}").last
        assert last.evaluate("element => getComputedStyle(element, '::after').content") == "none"
