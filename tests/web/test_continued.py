"""A reply that was cut off and continued reads as one sentence wherever people read it; programs are told of both."""

from __future__ import annotations

import re
from typing import Any

import pytest

from chatserver import Cover, CoverContext, hookimpl
from chatserver.clock import new_id, now_us
from chatserver.domain.messages import CitationPart, Message, TextPart
from chatserver.store import messages as message_rows
from chatserver.testing.server import Site, SiteClient

pytestmark = pytest.mark.asyncio(loop_scope="module")
CODE = ("Look:\n\n```python\nprint('on", "e')\n```\n\nand *so ", "on*.")


@pytest.fixture
async def ada(shared_site: Site) -> SiteClient:
    return await shared_site.sign_up(f"{new_id()}@example.org")


async def continued(site: Site, ada: SiteClient, *texts: str, cleared: bool = False) -> tuple[str, list[Message]]:
    """A question and a reply of several pieces; all but the last were stopped."""
    chat: str = (await ada.post("/api/conversations", json={"title": "Pieces"})).json()["id"]
    question = Message(new_id(), chat, None, "user", "done", (TextPart("Well?"),), "", now_us())
    messages = [question]
    cited = CitationPart("A book", number=1, id="books:1", text="It says so.")
    for number, text in enumerate(texts, 1):
        state: Any = "done" if number == len(texts) else "stopped"
        parts = (cited, TextPart(text))
        messages.append(
            Message(new_id(), chat, messages[-1].id, "assistant", state, parts, "fake-n5", now_us(), number > 1)
        )

    def store(tx: Any) -> None:
        for message in messages:
            message_rows.insert_message(tx, message)
        if cleared:
            message_rows.set_marker(tx, chat, messages[1].id, now_us())
        tx.run("UPDATE conversations SET tip_id = :tip WHERE id = :id", tip=messages[-1].id, id=chat)

    await site.house.db.write(store)
    return chat, messages


def article(page: str, message_id: str) -> str:
    found = re.search(rf'<article [^>]*id="m-{message_id}".*?</article>', page, re.DOTALL)
    assert found is not None
    return found[0]


async def test_the_page_goes_on_in_the_same_sentence(shared_site: Site, ada: SiteClient) -> None:
    chat, messages = await continued(shared_site, ada, "The cat s", "at on the ", "mat.")
    page = (await ada.get(f"/c/{chat}")).text
    assert '<p dir="auto">The cat sat on the mat.</p>' in article(page, messages[3].id)
    assert "The cat" not in article(page, messages[1].id) and "on the" not in article(page, messages[2].id)
    assert "goes-on" in article(page, messages[1].id) and "joined" in article(page, messages[3].id)
    assert (await ada.get(f"/c/{chat}/{messages[2].id}")).text.count("The cat sat on the</p>") == 1
    assert (await ada.get(f"/m/{messages[3].id}/text")).text == "The cat sat on the mat."
    assert (await ada.get(f"/m/{messages[1].id}/text")).text == "The cat s"


async def test_markup_that_was_cut_through_is_whole(shared_site: Site, ada: SiteClient) -> None:
    chat, messages = await continued(shared_site, ada, *CODE)
    last = article((await ada.get(f"/c/{chat}")).text, messages[3].id)
    assert last.count("<pre") == 1 and "<em>so on</em>" in last
    assert "print" not in article((await ada.get(f"/c/{chat}")).text, messages[1].id)


async def test_what_a_cleared_context_parts_is_not_joined(shared_site: Site, ada: SiteClient) -> None:
    chat, messages = await continued(shared_site, ada, "The cat s", "Hello.", cleared=True)
    page = (await ada.get(f"/c/{chat}")).text
    assert "The cat s" in article(page, messages[1].id) and "The cat" not in article(page, messages[2].id)
    assert (await ada.get(f"/m/{messages[2].id}/text")).text == "Hello."


async def test_files_of_a_chat_hold_one_answer_and_one_list_of_sources(shared_site: Site, ada: SiteClient) -> None:
    chat, _messages = await continued(shared_site, ada, "The cat s", "at on the ", "mat.")
    markdown = (await ada.get(f"/api/conversations/{chat}/export", params={"format": "md"})).text
    assert markdown.count("## ") == 2 and "\nThe cat sat on the mat.\n" in markdown
    assert markdown.count("A book") == 1 and "Stopped" not in markdown
    html = (await ada.get(f"/api/conversations/{chat}/export", params={"format": "html"})).text
    assert html.count("<article") == 2 and "The cat sat on the mat.</p>" in html
    told = (await ada.get(f"/api/conversations/{chat}/export", params={"format": "json"})).json()["messages"]
    assert [(line["state"], line.get("continues", False)) for line in told[1:]] == [
        ("stopped", False),
        ("stopped", True),
        ("done", True),
    ]


async def test_a_tree_with_two_continuations_keeps_each_and_numbers_them(shared_site: Site, ada: SiteClient) -> None:
    chat, messages = await continued(shared_site, ada, "One ", "two ", "three.")
    other = Message(new_id(), chat, messages[1].id, "assistant", "done", (TextPart("2."),), "fake-n5", now_us(), True)
    await shared_site.house.db.write(lambda tx: message_rows.insert_message(tx, other))
    query = {"format": "md", "scope": "tree"}
    markdown = (await ada.get(f"/api/conversations/{chat}/export", params=query)).text
    assert "\nOne \n" in markdown and "\ntwo three.\n" in markdown  # one above which two go on stands for itself
    assert re.findall(r"## (\d).*?(?: · (.*))?\n", markdown) == [
        ("1", ""),
        ("2", ""),
        ("4", "version 2 of 2, answers 2"),
    ]


async def test_a_share_reads_as_the_page_does(shared_site: Site, ada: SiteClient) -> None:
    chat, messages = await continued(shared_site, ada, "The cat s", "at.")
    shared = (await ada.post(f"/api/conversations/{chat}/shares", json={"tip": messages[-1].id})).json()
    page = (await ada.get(shared["url"])).text
    assert page.count("The cat sat.</p>") == 1 and page.count("The cat") == 1


class Fences:
    """A card for each fence that begins in a message, as a plugin sees it: one message at a time."""

    @hookimpl
    def cover_text(self, context: CoverContext) -> list[Cover]:
        covers = []
        for message in context.messages:
            text = "".join(part.text for part in message.parts if isinstance(part, TextPart))
            for found in re.finditer(r"^```.*?(?:^```$|\Z)", text, re.DOTALL | re.MULTILINE):
                covers.append(Cover(message.id, *found.span(), "source", f"A card of {len(found[0])}", "/x/a"))
        return covers


async def test_cards_stand_where_they_stood_and_none_for_what_was_cut(
    shared_site: Site, ada: SiteClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugins = shared_site.house.plugins

    async def gather(hook: str, **arguments: Any) -> list[Any]:
        return Fences().cover_text(arguments["context"]) if hook == "cover_text" else []

    monkeypatch.setattr(plugins, "gather", gather)
    monkeypatch.setattr(plugins, "has", lambda hook: hook == "cover_text")
    chat, messages = await continued(
        shared_site, ada, "First:\n\n```\n1\n```\n\nthen ", "more:\n\n```\n12\n```\n\nEnd."
    )
    last = article((await ada.get(f"/c/{chat}")).text, messages[2].id)
    places = [last.index(one) for one in ("First", "A card of 9", "then more", "A card of 10", "End.")]
    assert places == sorted(places)
    chat, messages = await continued(shared_site, ada, *CODE)
    last = article((await ada.get(f"/c/{chat}")).text, messages[3].id)
    assert "A card" not in last and last.count("<pre") == 1
