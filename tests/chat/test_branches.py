"""A tree as a whole, on both engines: its map, the names of branches, what differs, and forks that keep everything."""

from __future__ import annotations

import asyncio

import pytest

from chatserver.chat.doctor import examine
from chatserver.domain.messages import text_of
from chatserver.errors import BadInput, Conflict, NotFound
from chatserver.house import House
from tests.chat.conftest import Person


class Grove:
    """A conversation with two leaves: first - (second - third, other)."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.actor = person.actor

    async def grow(self) -> Grove:
        person, house = self.person, self.person.house
        self.id = await person.start("A tree")
        self.first = await person.ask(self.id, "First question", model="fake-echo")
        self.second = await person.ask(self.id, "Second question", parent=self.first.reply_id, model="fake-echo")
        self.other = await house.sending.edit(person.actor, self.second.question_id or "", "Another question")
        await person.ended(self.other.turn_id)
        self.third = await person.ask(self.id, "Third question", parent=self.second.reply_id, model="fake-echo")
        return self


@pytest.fixture
async def grove(ann: Person) -> Grove:
    return await Grove(ann).grow()


async def test_the_map_shows_every_branch_with_what_it_used(house: House, grove: Grove) -> None:
    mapped = await house.branches.map(grove.actor, grove.id, grove.third.reply_id)
    assert mapped.map.messages == 8
    assert [branch.tip_id for branch in mapped.map.branches] == [grove.third.reply_id, grove.other.reply_id]
    assert [branch.messages for branch in mapped.map.branches] == [6, 4]
    assert all(branch.tokens > 0 for branch in mapped.map.branches)
    shown = [text_of(mapped.messages[row.id].parts) for row in mapped.map.rows if not row.folded]
    assert shown[0] == "First question" and "Another question" in shown
    stored = await house.branches.map(grove.actor, grove.id)
    assert stored.tip_id == grove.third.reply_id


async def test_a_fork_lies_where_its_chat_lies_and_a_temporary_one_has_none(house: House, grove: Grove) -> None:
    actor = grove.actor
    folder = await house.filing.make_folder(actor, "Woods")
    await house.filing.file(actor, grove.id, folder_id=folder.id, tags=["oak"])
    fork = await house.branches.fork(actor, grove.third.reply_id, "path")
    assert (fork.folder_id, fork.tags) == (folder.id, ("oak",))
    assert [(tag.name, tag.chats) for tag in await house.filing.tags(actor)] == [("oak", 2)]
    sent = await house.sending.send(actor, None, None, "for a while", "fake-echo", temporary=True)
    await grove.person.ended(sent.turn_id)
    with pytest.raises(Conflict) as told:
        await house.branches.fork(actor, sent.reply_id, "path")
    assert told.value.code == "temporary_chat"


async def test_a_name_stays_with_its_branch_as_that_grows(house: House, grove: Grove) -> None:
    actor = grove.actor
    assert await house.branches.name(actor, grove.third.reply_id, "  The  long way ") == "The long way"
    grown = await grove.person.ask(grove.id, "More", parent=grove.third.reply_id)
    assert (await house.branches.standing(actor, grove.id, grown.reply_id))[0] == "The long way"
    assert (await house.branches.standing(actor, grove.id, grove.second.reply_id))[0] == "The long way"
    assert (await house.branches.standing(actor, grove.id, grove.other.reply_id))[0] == ""
    mapped = await house.branches.map(actor, grove.id)
    assert [mapped.name_of(branch) for branch in mapped.map.branches] == ["The long way", ""]
    assert await house.branches.name(actor, grown.reply_id, "") == ""
    assert (await house.branches.standing(actor, grove.id, grown.reply_id))[0] == ""


async def test_a_name_has_a_length(house: House, grove: Grove) -> None:
    with pytest.raises(BadInput, match="60 characters"):
        await house.branches.name(grove.actor, grove.third.reply_id, "n" * 61)


async def test_two_branches_are_told_apart_where_they_part(house: House, grove: Grove) -> None:
    found = await house.branches.difference(grove.actor, grove.id, grove.third.reply_id, grove.other.reply_id)
    assert found.shared == 2 and found.last_shared is not None
    assert found.last_shared.id == grove.first.reply_id
    assert text_of(found.left[0].parts) == "Second question"
    assert text_of(found.right[0].parts) == "Another question"
    assert (len(found.left), len(found.right)) == (4, 2)
    same = await house.branches.difference(grove.actor, grove.id, grove.third.reply_id, grove.second.reply_id)
    assert (same.shared, len(same.left), len(same.right)) == (4, 2, 0)


@pytest.mark.parametrize(("scope", "messages", "branches"), [("path", 4, 1), ("branches", 6, 1), ("all", 8, 2)])
async def test_a_fork_takes_what_was_asked_for(
    house: House, grove: Grove, scope: str, messages: int, branches: int
) -> None:
    actor = grove.actor
    await house.branches.name(actor, grove.second.reply_id, "Named")
    await house.conversations.clear_context(actor, grove.id, grove.first.reply_id)
    before = await house.conversations.tree(actor, grove.id)
    made = await house.branches.fork(actor, grove.second.reply_id, scope, "Fork of a tree")  # type: ignore[arg-type]
    tree = await house.conversations.tree(actor, made.id)
    assert (len(tree), made.branches, made.title, made.title_source) == (messages, branches, "Fork of a tree", "person")
    assert not {message.id for message in tree} & {message.id for message in before}
    path = await house.conversations.path(actor, made.id)
    assert [text_of(message.parts) for message in path] == [
        text_of(message.parts) for message in await house.conversations.path(actor, grove.id, grove.second.reply_id)
    ]
    assert [message.cleared_after for message in path] == [False, True, False, False]
    name, origin = await house.branches.standing(actor, made.id, made.tip_id or "")
    assert name == "Named"
    assert origin is not None and (origin.message_id, origin.title) == (grove.second.reply_id, "A tree")
    assert await house.conversations.tree(actor, grove.id) == before
    assert {hit.conversation_id for hit in await house.conversations.search(actor, "Second")} == {grove.id, made.id}
    assert await examine(house.db) == []


async def test_a_fork_goes_its_own_way(house: House, grove: Grove) -> None:
    actor = grove.actor
    made = await house.branches.fork(actor, grove.second.reply_id, "path")
    assert made.tip_id is not None and made.title == "A tree"
    await grove.person.ask(made.id, "Only here", parent=made.tip_id)
    assert len(await house.conversations.tree(actor, grove.id)) == 8
    await house.conversations.delete(actor, grove.id)
    assert (await house.branches.standing(actor, made.id, made.tip_id))[1] is None
    assert len(await house.conversations.path(actor, made.id)) == 6


async def test_a_reply_being_written_is_left_behind(house: House, grove: Grove) -> None:
    actor = grove.actor
    running = await house.sending.send(actor, grove.id, grove.first.reply_id, "Endless", "fake-hang")
    with pytest.raises(Conflict):
        await house.branches.fork(actor, running.reply_id, "path")
    made = await house.branches.fork(actor, grove.second.reply_id, "all")
    tree = await house.conversations.tree(actor, made.id)
    assert all(message.state != "running" for message in tree) and len(tree) == 9
    await house.conversations.stop(actor, running.turn_id or "")
    await grove.person.ended(running.turn_id)


async def test_a_deleted_branch_leaves_the_map_and_comes_back_with_its_name(house: House, grove: Grove) -> None:
    actor = grove.actor
    await house.branches.name(actor, grove.other.reply_id, "Doomed")
    deletion = await house.conversations.delete_message(actor, grove.other.question_id or "")
    assert [branch.messages for branch in (await house.branches.map(actor, grove.id)).map.branches] == [6]
    await house.conversations.restore(actor, deletion.id)
    assert (await house.branches.standing(actor, grove.id, grove.other.reply_id))[0] == "Doomed"


async def test_forks_at_once_are_conversations_of_their_own(house: House, grove: Grove) -> None:
    made = await asyncio.gather(*(house.branches.fork(grove.actor, grove.second.reply_id, "all") for _ in range(4)))
    assert len({one.id for one in made}) == 4
    assert await examine(house.db) == []


async def test_somebody_elses_tree_is_no_tree(house: House, grove: Grove, bob: Person) -> None:
    other = bob.actor
    for attempt in (
        house.branches.map(other, grove.id),
        house.branches.standing(other, grove.id, grove.third.reply_id),
        house.branches.name(other, grove.third.reply_id, "Mine"),
        house.branches.difference(other, grove.id, grove.third.reply_id, grove.other.reply_id),
        house.branches.fork(other, grove.third.reply_id, "all"),
    ):
        with pytest.raises(NotFound):
            await attempt


async def test_a_message_of_another_tree_is_no_branch_of_this_one(house: House, grove: Grove) -> None:
    elsewhere = await grove.person.ask(None, "Elsewhere")
    for attempt in (
        house.branches.map(grove.actor, grove.id, elsewhere.reply_id),
        house.branches.difference(grove.actor, grove.id, grove.third.reply_id, elsewhere.reply_id),
    ):
        with pytest.raises(NotFound):
            await attempt
