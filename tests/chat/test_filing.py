"""Folders and tags on both engines: two levels, nothing lost with a folder, and deeds done to all or to none."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from chatserver.chat.exports import Exports
from chatserver.chat.import_files import ImportFile
from chatserver.chat.imports import take_file
from chatserver.domain.filing import ListFilter, SearchFilter
from chatserver.errors import BadInput, NotFound
from chatserver.house import House
from tests.chat.conftest import Person


async def titles(person: Person, wanted: ListFilter = ListFilter()) -> list[str]:
    lines, _ = await person.house.conversations.list(person.actor, None, 50, wanted)
    return [line.title for line in lines]


@pytest.fixture
async def chats(ann: Person) -> dict[str, str]:
    return {title: await ann.start(title) for title in ("one", "two", "three")}


async def test_a_chat_lies_in_one_folder_and_has_tags(house: House, ann: Person, chats: dict[str, str]) -> None:
    work = await house.filing.make_folder(ann.actor, "  Work  ")
    inner = await house.filing.make_folder(ann.actor, "Release", work.id)
    filed = await house.filing.file(ann.actor, chats["one"], folder_id=inner.id, tags=["#price", "fr ance", "price"])
    assert (filed.folder_id, filed.tags) == (inner.id, ("price", "fr ance"))
    await house.filing.file(ann.actor, chats["two"], tags=["price"])
    assert [(one.name, one.parent_id, one.chats) for one in await house.filing.folders(ann.actor)] == [
        ("Work", None, 0),
        ("Release", work.id, 1),
    ]
    assert [(tag.name, tag.chats) for tag in await house.filing.tags(ann.actor)] == [("price", 2), ("fr ance", 1)]
    assert await titles(ann, ListFilter(folder_id=inner.id)) == ["one"]
    assert await titles(ann, ListFilter(tag="price")) == ["two", "one"]
    assert await titles(ann, ListFilter(folder_id="")) == ["three", "two"]
    taken_out = await house.filing.file(ann.actor, chats["one"], folder_id="", tags=[])
    assert (taken_out.folder_id, taken_out.tags) == ("", ())
    assert [tag.chats for tag in await house.filing.tags(ann.actor)] == [1]


async def test_a_folder_goes_and_its_chats_stay(house: House, ann: Person, chats: dict[str, str]) -> None:
    work = await house.filing.make_folder(ann.actor, "Work")
    inner = await house.filing.make_folder(ann.actor, "Inner", work.id)
    await house.filing.file(ann.actor, chats["one"], folder_id=work.id)
    await house.filing.remove_folder(ann.actor, work.id)
    assert [(one.id, one.parent_id) for one in await house.filing.folders(ann.actor)] == [(inner.id, None)]
    assert await titles(ann, ListFilter(folder_id="")) == ["three", "two", "one"]
    with pytest.raises(NotFound):
        await house.filing.remove_folder(ann.actor, work.id)


async def test_folders_are_two_deep_and_no_deeper(house: House, ann: Person) -> None:
    top = await house.filing.make_folder(ann.actor, "Top")
    inner = await house.filing.make_folder(ann.actor, "Inner", top.id)
    other = await house.filing.make_folder(ann.actor, "Other")
    for attempt in (
        house.filing.make_folder(ann.actor, "Third", inner.id),
        house.filing.change_folder(ann.actor, top.id, None, other.id),
        house.filing.change_folder(ann.actor, other.id, None, other.id),
        house.filing.change_folder(ann.actor, other.id, None, inner.id),
        house.filing.make_folder(ann.actor, "   "),
        house.filing.make_folder(ann.actor, "n" * 61),
    ):
        with pytest.raises(BadInput):
            await attempt
    moved = await house.filing.change_folder(ann.actor, other.id, "Another", top.id)
    assert (moved.name, moved.parent_id) == ("Another", top.id)
    assert (await house.filing.change_folder(ann.actor, other.id, None, None)).parent_id is None


async def test_a_deed_is_done_to_all_or_to_none(house: House, ann: Person, bob: Person, chats: dict[str, str]) -> None:
    foreign = await bob.start("bob's")
    mine = list(chats.values())
    for deed in ("archive", "delete", "tag"):
        with pytest.raises(NotFound):
            await house.filing.do(ann.actor, [*mine, foreign], deed, tag="x")  # type: ignore[arg-type]
    assert await titles(ann) == ["three", "two", "one"] and await titles(bob) == ["bob's"]
    await house.filing.do(ann.actor, mine[:2], "archive")
    assert await titles(ann) == ["three"]
    assert await titles(ann, ListFilter(archived=True)) == ["two", "one"]
    await house.filing.do(ann.actor, mine[:2], "unarchive")
    await house.filing.do(ann.actor, mine, "tag", tag="#all")
    assert await titles(ann, ListFilter(tag="all")) == ["three", "two", "one"]
    await house.filing.do(ann.actor, mine[:1], "untag", tag="all")
    assert await titles(ann, ListFilter(tag="all")) == ["three", "two"]
    await house.filing.do(ann.actor, mine[:1], "pin")
    assert await titles(ann, ListFilter(pinned=True)) == ["one"]
    deletions = await house.filing.do(ann.actor, mine, "delete")
    assert await titles(ann) == []
    for deletion in deletions:
        await house.conversations.restore(ann.actor, deletion.id)
    assert sorted(await titles(ann)) == ["one", "three", "two"]


async def test_many_deleted_at_once_stop_what_is_written_in_them(house: House, ann: Person) -> None:
    running = await house.sending.send(ann.actor, None, None, "Endless", "fake-hang")
    other = await ann.start("other")
    await house.filing.do(ann.actor, [running.conversation_id, other], "delete")
    for _ in range(500):
        states = await house.db.read(lambda tx: tx.all(str, "SELECT state FROM turns"))
        if states == ["stopped"]:
            break
        await asyncio.sleep(0.01)
    assert states == ["stopped"]


async def test_what_makes_no_sense_is_refused(house: House, ann: Person, chats: dict[str, str]) -> None:
    for attempt in (
        house.filing.do(ann.actor, [], "archive"),
        house.filing.do(ann.actor, [chats["one"]], "tag"),
        house.filing.do(ann.actor, [f"x{number}" for number in range(201)], "archive"),
        house.filing.file(ann.actor, chats["one"], tags=["t" * 41]),
        house.filing.file(ann.actor, chats["one"], tags=[f"tag{number}" for number in range(13)]),
        house.filing.file(ann.actor, chats["one"], tags=["a,b"]),
    ):
        with pytest.raises(BadInput):
            await attempt


async def test_somebody_elses_folder_is_no_folder(
    house: House, ann: Person, bob: Person, chats: dict[str, str]
) -> None:
    theirs = await house.filing.make_folder(bob.actor, "Bob's")
    for attempt in (
        house.filing.file(ann.actor, chats["one"], folder_id=theirs.id),
        house.filing.do(ann.actor, [chats["one"]], "move", folder_id=theirs.id),
        house.filing.make_folder(ann.actor, "In it", theirs.id),
        house.filing.change_folder(ann.actor, theirs.id, "Mine"),
        house.filing.remove_folder(ann.actor, theirs.id),
    ):
        with pytest.raises(NotFound):
            await attempt
    assert await house.filing.folders(ann.actor) == []


async def test_search_is_narrowed_by_where_and_what(house: House, ann: Person) -> None:
    first = await ann.ask(None, "The harvest of apples", model="fake-echo")
    second = await ann.ask(None, "The harvest of pears", model="fake-n5")
    await house.conversations.update(ann.actor, first.conversation_id, title="The harvest of apples")
    await house.conversations.update(ann.actor, second.conversation_id, title="Pears")
    folder = await house.filing.make_folder(ann.actor, "Fruit")
    await house.filing.file(ann.actor, first.conversation_id, folder_id=folder.id, tags=["red"])

    async def found(wanted: SearchFilter) -> set[tuple[str, bool]]:
        hits = await house.conversations.search(ann.actor, "harvest", 50, wanted)
        return {(hit.conversation_id, bool(hit.message_id)) for hit in hits}

    in_first = {(first.conversation_id, True), (first.conversation_id, False)}
    assert await found(SearchFilter()) == in_first | {(second.conversation_id, True)}
    assert await found(SearchFilter(folder_id=folder.id)) == in_first
    assert {where for where, _ in await found(SearchFilter(tag="red"))} == {first.conversation_id}
    assert await found(SearchFilter(model="fake-echo")) == {(first.conversation_id, True)}
    assert len(await found(SearchFilter(role="user"))) == 2
    assert await found(SearchFilter(since=1 << 61)) == set()
    assert await found(SearchFilter(until=1)) == set()
    assert await found(SearchFilter(tag="blue")) == set()


async def test_search_goes_on_page_by_page(house: House, ann: Person) -> None:
    conversation = await ann.start("Pages")
    for number in range(5):
        await ann.ask(conversation, f"pagination {number}", model="fake-n5")
    seen, cursor = [], 0
    while hits := await house.conversations.search(ann.actor, "pagination", 2, SearchFilter(role="user"), cursor):
        seen += [hit.text for hit in hits]
        cursor = hits[-1].cursor
    assert seen == [f"pagination {number}" for number in (4, 3, 2, 1, 0)]


async def test_hits_say_where_their_words_stand(house: House, ann: Person) -> None:
    await ann.ask(None, "Harvest early, harvested late; 分佣规则", model="fake-n5")
    for query in ("harvest", "分佣"):
        (hit,) = await house.conversations.search(ann.actor, query, 50, SearchFilter(role="user"))
        assert {hit.text[start:end].lower() for start, end in hit.marks} == {query}


async def test_folders_tags_and_names_of_branches_go_along(
    house: House, ann: Person, bob: Person, tmp_path: Path
) -> None:
    asked = await ann.ask(None, "Where to keep this?", model="fake-n5")
    work = await house.filing.make_folder(ann.actor, "Work")
    inner = await house.filing.make_folder(ann.actor, "Release", work.id)
    await house.filing.file(ann.actor, asked.conversation_id, folder_id=inner.id, tags=["kept"])
    await house.branches.name(ann.actor, asked.reply_id, "The only one")
    file = tmp_path / "export.jsonl"
    file.write_bytes(b"".join([piece async for piece in Exports(house.db, "test").export([ann.actor.account])]))
    await take_file(house.db, ImportFile(file, []), {"ann@example.org": bob.actor, "": bob.actor})
    (line,), _ = await house.conversations.list(bob.actor)
    assert line.tags == ("kept",)
    assert [(one.name, one.chats) for one in await house.filing.folders(bob.actor)] == [("Work", 0), ("Release", 1)]
    assert (await house.branches.standing(bob.actor, line.id, line.tip_id or ""))[0] == "The only one"
