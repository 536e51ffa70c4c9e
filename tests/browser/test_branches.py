"""The tree under the page: edit, regenerate, versions, delete and undo, clear context."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.stage import Site, ask_and_wait, pick, replies

pytestmark = pytest.mark.browser

Visit = Callable[..., Page]


def edit(page: Page, number: int, text: str) -> None:
    article = replies(page).nth(number)
    article.hover()
    article.get_by_role("button", name="Edit", exact=True).click()
    article.get_by_role("textbox", name="Edit message").fill(text)
    article.get_by_role("button", name="Save").click()


def test_edited_question_is_a_version_with_its_own_answer(visit: Visit) -> None:
    page = visit()
    ask_and_wait(page, "First wording")
    edit(page, 0, "Second wording")
    expect(replies(page).nth(1)).to_contain_text("You said: Second wording")
    expect(replies(page).nth(0)).to_contain_text("2/2")
    replies(page).nth(0).get_by_role("link", name="Previous version").click()
    expect(replies(page).nth(0)).to_contain_text("First wording")
    expect(replies(page).nth(0)).to_contain_text("1/2")
    expect(replies(page).nth(1)).to_contain_text("You said: First wording")


def test_switch_is_remembered_and_the_address_is_the_view(visit: Visit, site: Site) -> None:
    page = visit()
    ask_and_wait(page, "One")
    first = page.url
    edit(page, 0, "Two")
    expect(replies(page).nth(1)).to_contain_text("You said: Two")
    second = page.url
    assert first != second
    with page.expect_response(lambda answer: answer.request.method == "PATCH") as kept:
        replies(page).nth(0).get_by_role("link", name="Previous version").click()
    assert kept.value.ok
    expect(page).to_have_url(first)
    page.goto("/".join(first.split("/")[:-1]))
    expect(replies(page).nth(0)).to_contain_text("One")
    page.goto(second)
    expect(replies(page).nth(0)).to_contain_text("Two")


def test_branch_keeps_its_colour_as_it_grows(visit: Visit) -> None:
    page = visit()
    ask_and_wait(page, "Trunk")
    edit(page, 0, "Branch")
    expect(replies(page).nth(1)).to_contain_text("You said: Branch")
    expect(replies(page).nth(1)).to_have_attribute("data-state", "done")
    ask_and_wait(page, "Grows on")
    for _ in range(2):
        for number in range(4):
            expect(replies(page).nth(number)).to_have_class(re.compile(r"\blane-2\b"))
        page.reload()


def test_version_link_leads_to_the_end_of_its_branch(visit: Visit) -> None:
    page = visit()
    ask_and_wait(page, "Root")
    ask_and_wait(page, "Deep")
    edit(page, 0, "Other root")
    expect(replies(page)).to_have_count(2)
    replies(page).nth(0).get_by_role("link", name="Previous version").click()
    expect(replies(page)).to_have_count(4)
    expect(replies(page).nth(2)).to_contain_text("Deep")


def test_regenerate_with_another_model_makes_a_version(visit: Visit) -> None:
    page = visit()
    ask_and_wait(page, "Again please")
    pick(page, "Thinker")
    replies(page).nth(1).get_by_role("button", name="Regenerate").click()
    expect(replies(page).nth(1)).to_contain_text("2/2")
    expect(replies(page).nth(1)).to_contain_text("Thinker")
    expect(replies(page).nth(1)).to_have_attribute("aria-busy", "false")
    page.go_back()
    expect(replies(page).nth(1)).to_contain_text("1/2")


def test_edited_reply_is_a_version_without_a_call(visit: Visit, site: Site) -> None:
    page = visit()
    ask_and_wait(page, "Say it")
    edit(page, 1, "What I **wish** you had said")
    expect(replies(page).nth(1).locator("strong")).to_have_text("wish")
    expect(replies(page).nth(1)).to_contain_text("2/2")


def test_editing_can_be_left_alone(visit: Visit) -> None:
    page = visit()
    ask_and_wait(page, "Stays")
    replies(page).nth(0).get_by_role("button", name="Edit", exact=True).click()
    box = page.get_by_role("textbox", name="Edit message")
    expect(box).to_be_focused()
    expect(box).to_have_value("Stays")
    box.press("Escape")
    expect(box).to_have_count(0)
    expect(replies(page).nth(0)).to_contain_text("Stays")


def test_delete_says_how_many_and_can_be_taken_back(visit: Visit) -> None:
    page = visit()
    ask_and_wait(page, "Keep this")
    ask_and_wait(page, "Drop that")
    replies(page).nth(2).hover()
    replies(page).nth(2).get_by_role("button", name="Delete").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Delete 2 messages?")
    dialog.get_by_role("button", name="Delete").click()
    expect(replies(page)).to_have_count(2)
    expect(page.get_by_text("2 messages deleted")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(replies(page)).to_have_count(4)
    expect(replies(page).nth(2)).to_contain_text("Drop that")


def test_first_message_can_go_and_the_page_is_empty_then(visit: Visit) -> None:
    page = visit()
    ask_and_wait(page, "Only one")
    replies(page).nth(0).hover()
    replies(page).nth(0).get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(replies(page)).to_have_count(0)
    ask_and_wait(page, "A new beginning")
    expect(replies(page).nth(0)).to_contain_text("A new beginning")


def test_cleared_context_is_shown_sent_and_undone(visit: Visit, site: Site) -> None:
    page = visit()
    ask_and_wait(page, "Remember 42")
    page.get_by_role("button", name="Clear context").click()
    expect(page.get_by_text("Context cleared")).to_be_visible()
    ask_and_wait(page, "Which number?")
    sent = next(r for r in reversed(site.actor.requests) if r.messages[-1].parts[0].text == "Which number?")  # type: ignore[union-attr]
    assert len(sent.messages) == 1
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("Context cleared")).to_have_count(0)
    expect(replies(page)).to_have_count(4)


def test_question_below_a_running_reply_waits(visit: Visit, site: Site) -> None:
    page = visit()
    pick(page, "Waiter")
    page.get_by_role("textbox", name="Message").fill("Slow one, please take your time")
    page.keyboard.press("Enter")
    expect(replies(page).nth(1)).to_contain_text("You said")
    page.get_by_role("textbox", name="Message").fill("Impatient")
    page.keyboard.press("Enter")
    expect(page.get_by_role("textbox", name="Message")).to_have_value("Impatient")
    expect(replies(page)).to_have_count(2)
    site.actor.held.set()
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    page.keyboard.press("Enter")
    expect(replies(page)).to_have_count(4)


def test_chat_can_be_renamed_pinned_and_deleted(visit: Visit) -> None:
    page = visit()
    ask_and_wait(page, "About to be renamed")
    page.get_by_label("More about this chat").click()
    page.get_by_role("button", name="Rename").click()
    page.get_by_role("textbox", name="Title").fill("My own title")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("My own title")
    side = page.get_by_role("navigation", name="Chats")
    expect(side.get_by_role("link", name="My own title")).to_be_visible()
    page.get_by_label("More about this chat").click()
    page.get_by_role("button", name="Pin", exact=True).click()
    expect(side.get_by_role("heading", name="Pinned")).to_be_visible()
    page.get_by_label("More about this chat").click()
    page.get_by_role("button", name="Delete chat").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete chat").click()
    expect(side.get_by_role("link", name="My own title")).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(side.get_by_role("link", name="My own title")).to_be_visible()
    expect(page).to_have_url(re.compile("/c/"))
