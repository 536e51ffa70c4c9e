"""Branching as people do it: edit, regenerate, switch, delete, take back, clear; the upstream gets root to tip."""

from __future__ import annotations

import asyncio

import pytest

from chatserver.chat.sending import AT_TIP
from chatserver.errors import BadInput, Conflict, NotFound
from chatserver.testing.upstream import FakeUpstream
from tests.chat.conftest import Person


def asked(upstream: FakeUpstream) -> list[list[tuple[str, str]]]:
    """What each chat request held: role and text."""
    found = []
    for seen in upstream.chats():
        found.append(
            [
                (m["role"], m["content"] if isinstance(m["content"], str) else m["content"][0]["text"])
                for m in seen.json["messages"]
            ]
        )
    return found


async def test_upstream_receives_exactly_root_to_tip(ann: Person, fake_upstream: FakeUpstream) -> None:
    chat = await ann.start()
    first = await ann.ask(chat, "one", model="fake-echo")
    second = await ann.ask(chat, "two", parent=first.reply_id, model="fake-echo")
    edited = await ann.house.sending.edit(ann.actor, second.question_id or "", "two, said better")
    await ann.ended(edited.turn_id)
    assert asked(fake_upstream)[-1] == [("user", "one"), ("assistant", "one"), ("user", "two, said better")]
    assert await ann.texts(chat) == ["one", "one", "two, said better", "two, said better"]
    assert await ann.texts(chat, second.reply_id) == ["one", "one", "two", "two"]


async def test_first_message_can_be_edited(ann: Person) -> None:
    chat = await ann.start()
    first = await ann.ask(chat, "one")
    edited = await ann.house.sending.edit(ann.actor, first.question_id or "", "uno")
    await ann.ended(edited.turn_id)
    view = await ann.house.conversations.view(ann.actor, chat)
    assert view.items[0].versions == (first.question_id, edited.question_id)
    assert view.conversation.branches == 2


async def test_regenerate_makes_a_sibling_also_by_another_model(ann: Person) -> None:
    chat = await ann.start()
    first = await ann.ask(chat, "one")
    again = await ann.house.sending.regenerate(ann.actor, first.reply_id, "fake-n5-b")
    await ann.ended(again.turn_id)
    view = await ann.house.conversations.view(ann.actor, chat)
    assert view.items[-1].versions == (first.reply_id, again.reply_id)
    assert view.items[-1].message.model == "fake-n5-b"


async def test_an_edited_reply_is_a_sibling_without_a_turn(ann: Person, fake_upstream: FakeUpstream) -> None:
    chat = await ann.start()
    first = await ann.ask(chat, "one")
    calls = len(fake_upstream.chats())
    edited = await ann.house.sending.edit(ann.actor, first.reply_id, "what I wish it said")
    assert edited.turn_id is None
    assert len(fake_upstream.chats()) == calls
    assert (await ann.texts(chat))[-1] == "what I wish it said"


async def test_a_branch_can_be_branched_and_versions_lead_to_the_tip_last_looked_at(ann: Person) -> None:
    chat = await ann.start()
    one = await ann.ask(chat, "one")
    two = await ann.ask(chat, "two", parent=one.reply_id)
    three = await ann.ask(chat, "three", parent=two.reply_id)
    other = await ann.ask(chat, "other", parent=two.reply_id)
    edited = await ann.house.sending.edit(ann.actor, two.question_id or "", "zwei")
    await ann.ended(edited.turn_id)
    leaf = ann.house.conversations.leaf_below
    assert await leaf(ann.actor, chat, two.question_id or "") == other.reply_id
    await ann.house.conversations.update(ann.actor, chat, tip=three.reply_id)
    await ann.house.conversations.update(ann.actor, chat, tip=edited.reply_id)
    assert await leaf(ann.actor, chat, two.question_id or "") == three.reply_id


async def test_deleting_the_third_of_three_shows_the_second_and_can_be_taken_back(ann: Person) -> None:
    chat = await ann.start()
    one = await ann.ask(chat, "one")
    two = await ann.house.sending.regenerate(ann.actor, one.reply_id)
    await ann.ended(two.turn_id)
    three = await ann.house.sending.regenerate(ann.actor, one.reply_id)
    await ann.ended(three.turn_id)
    below = await ann.ask(chat, "below", parent=three.reply_id)
    deletion = await ann.house.conversations.delete_message(ann.actor, three.reply_id)
    assert (deletion.count, deletion.tip_id) == (3, two.reply_id)
    assert (await ann.path(chat))[-1] == two.reply_id
    assert await ann.house.conversations.search(ann.actor, "below") == []
    with pytest.raises(NotFound):
        await ann.house.conversations.view(ann.actor, chat, below.reply_id)
    back = await ann.house.conversations.restore(ann.actor, deletion.id)
    assert back.count == 3
    assert (await ann.path(chat))[-1] == below.reply_id
    assert await ann.house.conversations.search(ann.actor, "below")


async def test_deleting_the_only_root_leaves_an_empty_chat(ann: Person) -> None:
    chat = await ann.start()
    one = await ann.ask(chat, "one")
    deletion = await ann.house.conversations.delete_message(ann.actor, one.question_id or "")
    assert deletion.tip_id is None
    assert (await ann.house.conversations.view(ann.actor, chat)).items == ()
    again = await ann.ask(chat, "fresh")
    assert await ann.path(chat) == [again.question_id, again.reply_id]


async def test_clear_context_is_of_its_branch_only_and_can_be_taken_back(
    ann: Person, fake_upstream: FakeUpstream
) -> None:
    chat = await ann.start()
    one = await ann.ask(chat, "one", model="fake-echo")
    other = await ann.house.sending.regenerate(ann.actor, one.reply_id)
    await ann.ended(other.turn_id)
    await ann.house.conversations.clear_context(ann.actor, chat, one.reply_id)
    await ann.ask(chat, "two", parent=one.reply_id, model="fake-echo")
    assert asked(fake_upstream)[-1] == [("user", "two")]
    await ann.ask(chat, "two", parent=other.reply_id, model="fake-echo")
    assert asked(fake_upstream)[-1] == [("user", "one"), ("assistant", "one"), ("user", "two")]
    await ann.house.conversations.restore_context(ann.actor, chat, one.reply_id)
    await ann.ask(chat, "three", parent=one.reply_id, model="fake-echo")
    assert asked(fake_upstream)[-1][0] == ("user", "one")
    assert len(await ann.path(chat)) == 4


async def test_writing_below_a_running_reply_is_a_conflict(ann: Person) -> None:
    chat = await ann.start()
    running = await ann.house.sending.send(ann.actor, chat, None, "go", "fake-n200-gap10")
    with pytest.raises(Conflict) as refused:
        await ann.house.sending.send(ann.actor, chat, running.reply_id, "more")
    assert refused.value.code == "reply_running"
    await ann.house.conversations.stop(ann.actor, running.turn_id or "")
    await ann.ended(running.turn_id)


async def test_two_at_once_below_one_parent_become_siblings(ann: Person) -> None:
    chat = await ann.start()
    one = await ann.ask(chat, "one")
    both = await asyncio.gather(*(ann.ask(chat, f"q{n}", parent=one.reply_id) for n in range(2)))
    view = await ann.house.conversations.view(ann.actor, chat)
    assert set(view.items[2].versions) == {sent.question_id for sent in both}


async def test_send_without_a_parent_goes_below_the_tip(ann: Person) -> None:
    chat = await ann.start()
    one = await ann.ask(chat, "one")
    sent = await ann.house.sending.send(ann.actor, chat, AT_TIP, "two")
    await ann.ended(sent.turn_id)
    assert (await ann.path(chat))[1] == one.reply_id


async def test_somebody_elses_ids_are_unknown(ann: Person, bob: Person) -> None:
    chat = await ann.start()
    one = await ann.ask(chat, "one")
    house, actor = bob.house, bob.actor
    mine = await bob.start()
    for attempt in (
        house.conversations.get(actor, chat),
        house.conversations.view(actor, chat),
        house.conversations.tree(actor, chat),
        house.conversations.update(actor, chat, title="mine now"),
        house.conversations.update(actor, mine, tip=one.reply_id),
        house.conversations.delete(actor, chat),
        house.conversations.delete_message(actor, one.reply_id),
        house.conversations.clear_context(actor, mine, one.reply_id),
        house.conversations.leaf_below(actor, chat, one.reply_id),
        house.sending.send(actor, chat, one.reply_id, "hello"),
        house.sending.send(actor, mine, one.reply_id, "hello"),
        house.sending.edit(actor, one.reply_id, "hello"),
        house.sending.regenerate(actor, one.reply_id),
        house.sending.continue_reply(actor, one.reply_id),
        house.readers.turn(actor, one.turn_id or ""),
        house.conversations.stop(actor, one.turn_id or ""),
    ):
        with pytest.raises(NotFound):
            await attempt
    assert await house.conversations.search(actor, "one") == []


async def test_long_branch_is_paged_from_its_end(ann: Person) -> None:
    chat = await ann.start()
    parent = None
    ids: list[str] = []
    for number in range(30):
        sent = await ann.ask(chat, f"q{number}", parent=parent)
        parent = sent.reply_id
        ids += [sent.question_id or "", sent.reply_id]
    view = await ann.house.conversations.view(ann.actor, chat)
    assert [item.message.id for item in view.items] == ids[-40:]
    assert view.has_older
    older = await ann.house.conversations.view(ann.actor, chat, before=view.items[0].message.id)
    assert [item.message.id for item in older.items] == ids[:-40]
    assert not older.has_older


@pytest.mark.parametrize("text", ["", "   \n", "a\x00b", "\ud800", "x" * 200_001])
async def test_bad_text_is_refused_and_leaves_nothing(ann: Person, text: str) -> None:
    chat = await ann.start()
    with pytest.raises(BadInput):
        await ann.house.sending.send(ann.actor, chat, None, text)
    assert await ann.path(chat) == []


async def test_search_finds_two_chinese_characters_and_only_ones_own(ann: Person, bob: Person) -> None:
    chat = await ann.start()
    await ann.ask(chat, "预设市场的分佣规则是什么")
    hits = await ann.house.conversations.search(ann.actor, "分佣")
    assert [hit.conversation_id for hit in hits] == [chat]
    assert await bob.house.conversations.search(bob.actor, "分佣") == []
