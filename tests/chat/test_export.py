"""Export and import: whole trees there and back, byte for byte; each once; a damaged file changes nothing."""

from __future__ import annotations

import asyncio
import io
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from chatserver.chat.accounts import Accounts
from chatserver.chat.doctor import examine
from chatserver.chat.export_reader import read_export
from chatserver.chat.exports import Exports
from chatserver.chat.housekeeping import DELETIONS_KEPT_US, Housekeeping
from chatserver.chat.import_files import ImportFile
from chatserver.chat.imports import MESSAGES_AT_ONCE, ImportReport, Imports, survey, take_file
from chatserver.chat.placing import place
from chatserver.clock import new_id, now_us, read_id, write_id
from chatserver.domain.access import Actor
from chatserver.domain.exports import (
    FORMAT,
    ConversationLine,
    EndLine,
    HeaderLine,
    Line,
    MessageLine,
    encode_line,
)
from chatserver.domain.imported import ImportedConversation, ImportedMessage
from chatserver.domain.messages import Part, ReasoningPart, TextPart, ToolCallPart, encode_parts
from chatserver.errors import BadInput, StorageFull, Unavailable
from chatserver.house import migration_sets
from chatserver.plugins import Plugins
from chatserver.store import search
from chatserver.store.database import Database
from chatserver.store.sqlite import SqliteDatabase
from tests.chat.conftest import SECRET, Person, Place
from tests.engines import open_postgres

FORMAT_PAGE = Path(__file__).resolve().parents[2] / "docs" / "export-format.md"
HEADER = HeaderLine(FORMAT, 1, "chatserver test", 1)


class Shelf:
    """A database with accounts, and nothing that runs."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.accounts = Accounts(db, Plugins.load(found=[]), SECRET)

    @classmethod
    async def open(cls, place: Place) -> Shelf:
        db = await open_postgres(place) if isinstance(place, str) else SqliteDatabase.open(place, reserve_bytes=0)
        await db.migrate(migration_sets(db.engine, Plugins.load(found=[])))
        return cls(db)

    async def actor(self, email: str = "ann@example.org") -> Actor:
        return Actor(await self.accounts.by_email(email) or await self.accounts.create(email), "job")

    async def export(self, *emails: str) -> bytes:
        chosen = [(await self.actor(email)).account for email in emails or ["ann@example.org"]]
        return b"".join([piece async for piece in Exports(self.db, "chatserver test").export(chosen)])

    async def take(self, file: Path, email: str = "ann@example.org") -> ImportReport:
        source = ImportFile(file, [])
        found = survey(source)
        actor = await self.actor(email)
        reports = await take_file(self.db, source, dict.fromkeys({*found.emails, ""}, actor))
        return next((one for one in reports.values() if one.new or one.grown or one.there), ImportReport())

    async def take_trees(self, *trees: ImportedConversation, email: str = "ann@example.org") -> ImportReport:
        imports = Imports(self.db, await self.actor(email))
        for tree in trees:
            await imports.take(tree)
        await imports.flush()
        return imports.report

    async def find(self, query: str, email: str = "ann@example.org") -> list[str]:
        actor = await self.actor(email)
        hits = await self.db.read(lambda tx: search.find(tx, owner_id=actor.account_id, query=query))
        return [hit.message_id for hit in hits]

    async def count(self, table: str) -> int:
        return await self.db.read(lambda tx: tx.one(int, f"SELECT COUNT(*) FROM {table}")) or 0


@pytest.fixture
async def shelf(place: Place, tmp_path: Path) -> AsyncIterator[Shelf]:
    """On each engine in turn."""
    shelf = await Shelf.open(place)
    yield shelf
    await shelf.db.close()


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[Shelf]:
    shelf = await Shelf.open(tmp_path / "other.db")
    yield shelf
    await shelf.db.close()


def body(export: bytes) -> bytes:
    """All but the header, which tells when and by whom."""
    return export.partition(b"\n")[2]


def tree(
    count: int, name: str = "a", *, parent_of: Callable[[int], int] = lambda n: n - 1, times: bool = True
) -> ImportedConversation:
    """`count` messages, each below the one parent_of() says (below 0: a root)."""
    messages = tuple(
        ImportedMessage(
            id=f"m{number}",
            parent_id=f"m{parent_of(number)}" if parent_of(number) >= 0 else None,
            role="assistant" if number % 2 else "user",
            parts=(TextPart(f"text {number} of {name} pelican{number}"),),
            created_at=1_700_000_000_000_000 + number * 1_000_000 if times else 0,
            model="some-model" if number % 2 else "",
        )
        for number in range(count)
    )
    return ImportedConversation(
        name, f"Title of {name}", messages, created_at=1_700_000_000_000_000 if times else 0, updated_at=0
    )


def write_file(path: Path, *lines: Line | bytes) -> Path:
    path.write_bytes(b"".join(one if isinstance(one, bytes) else encode_line(one) for one in lines))
    return path


def chat_line(conversation_id: str = "", title: str = "A chat") -> ConversationLine:
    return ConversationLine(conversation_id or new_id(), title, "person", None, "", False, False, 5, 6)


def message_line(message_id: str = "", parent_id: str | None = None, text: str = "hello") -> MessageLine:
    parts = msgspec.Raw(encode_parts((TextPart(text),)))
    return MessageLine(message_id or new_id(), parent_id, "user", "done", "", 7, parts)


# --- there and back -------------------------------------------------------------------------------------------------


async def test_what_a_person_made_comes_back_byte_for_byte(ann: Person, other: Shelf, tmp_path: Path) -> None:
    chat = await ann.start()
    first = await ann.ask(chat, "one 你好", model="fake-think5-n5")
    await ann.ask(chat, "two", parent=first.reply_id)
    await ann.ended((await ann.house.sending.edit(ann.actor, first.question_id or "", "uno")).turn_id)
    await ann.ended((await ann.house.sending.regenerate(ann.actor, first.reply_id, "fake-n5-b")).turn_id)
    await ann.house.conversations.clear_context(ann.actor, chat, first.reply_id)
    await ann.house.conversations.update(ann.actor, chat, tip=first.reply_id, pinned=True)
    gone = await ann.ask(chat, "never mind", parent=first.reply_id)
    await ann.house.conversations.delete_message(ann.actor, gone.question_id or "")
    cut = await ann.house.sending.send(ann.actor, await ann.start("other"), None, "go on", "fake-n20-gap20-cut5")
    await ann.ended(cut.turn_id)
    exports = Exports(ann.house.db, "chatserver test")
    written = b"".join([piece async for piece in exports.export([ann.actor.account])])
    assert b"never mind" not in written and b"interrupted" in written and b"cleared_at" in written
    file = write_file(tmp_path / "ann.jsonl", written)
    report = await other.take(file)
    assert (report.new, report.messages) == (2, 9)
    assert body(await other.export()) == body(written)
    assert await examine(other.db) == []
    assert len(await other.find("uno")) == 1
    again = await other.take(file)
    assert (again.new, again.there, again.messages) == (0, 2, 0)
    assert body(await other.export()) == body(written)


async def test_a_reply_that_is_being_written_is_exported_as_it_stands(ann: Person) -> None:
    sent = await ann.house.sending.send(ann.actor, await ann.start(), None, "go on", "fake-n2000-gap1")
    turn = await ann.house.readers.turn(ann.actor, sent.turn_id or "")
    async for _ in ann.house.readers.follow(ann.actor, turn, 0):
        if (await ann.house.readers.turn(ann.actor, turn.id)).last_seq > 20:
            break
    exports = Exports(ann.house.db, "test")
    written = b"".join([piece async for piece in exports.export([ann.actor.account])])
    await ann.house.conversations.stop(ann.actor, sent.turn_id or "")
    await ann.ended(sent.turn_id)
    ((_, conversation),) = read_export(io.BytesIO(written))
    reply = conversation.messages[-1]
    assert reply.state == "interrupted"
    assert len(encode_parts(reply.parts)) > 20


texts = st.text(st.characters(codec="utf-8"), max_size=40)
parts = st.lists(
    st.one_of(
        texts.map(TextPart),
        texts.map(ReasoningPart),
        st.builds(ToolCallPart, st.just("c1"), st.just("look"), texts),
    ),
    max_size=3,
)


@st.composite
def trees(draw: st.DrawFn) -> ImportedConversation:
    messages = []
    for number in range(draw(st.integers(0, 12))):
        parent = draw(st.integers(-1, number - 1))
        chosen: list[Part] = draw(parts)
        messages.append(
            ImportedMessage(
                f"m{number}",
                f"m{parent}" if parent >= 0 else None,
                draw(st.sampled_from(["user", "assistant", "system", "tool"])),
                tuple(chosen),
                draw(st.sampled_from([0, 0, 1_700_000_000_000_000, 1_700_000_000_000_001, 1_600_000_000_000_000])),
                draw(st.sampled_from(["", "a-model"])),
                draw(st.sampled_from(["done", "stopped", "interrupted", "failed"])),
                draw(st.booleans()),
                draw(st.sampled_from([0, 0, 1_700_000_000_000_002])),
            )
        )
    order = draw(st.permutations(messages))
    tip = draw(st.sampled_from([None, "m0", "m3", "nowhere"]))
    return ImportedConversation(
        draw(st.sampled_from(["x", "y"])),
        draw(texts),
        tuple(order),
        title_source=draw(st.sampled_from(["none", "auto", "person"])),
        created_at=draw(st.sampled_from([0, 1_650_000_000_000_000])),
        tip_id=tip,
    )


WITHOUT_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)
"""Each try opens two databases: to shrink a failure would take minutes."""


@given(st.lists(trees(), min_size=1, max_size=3, unique_by=lambda one: one.id))
@settings(
    max_examples=30,
    deadline=None,
    phases=WITHOUT_SHRINKING,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_tree_keeps_its_shape_and_survives_the_trip(
    tmp_path_factory: pytest.TempPathFactory, found: list[ImportedConversation]
) -> None:
    folder = tmp_path_factory.mktemp("trip")

    async def there_and_back() -> None:
        one, two = await Shelf.open(folder / "one.db"), await Shelf.open(folder / "two.db")
        try:
            await one.take_trees(*found)
            assert await examine(one.db) == []
            first = await one.export()
            report = await two.take(write_file(folder / "one.jsonl", first))
            assert report.new == len(found)
            assert body(await two.export()) == body(first)
            assert await examine(two.db) == []
            again = await one.take_trees(*found)
            assert (again.new, again.grown, again.there) == (0, 0, len(found))
            sizes = sorted(len(back.messages) for _, back in read_export(io.BytesIO(first)))
            assert sizes == sorted(len(source.messages) for source in found)
        finally:
            await one.db.close()
            await two.db.close()

    asyncio.run(there_and_back())


@given(trees())
def test_a_placed_tree_is_the_tree_it_was(source: ImportedConversation) -> None:
    placed = place(source, "account", 1_800_000_000_000_000)
    assert placed == place(msgspec.structs.replace(source, messages=source.messages), "account", 1_800_000_000_000_000)
    by_text = {id(message.parts): message for message in placed.messages}
    ids = {message.id: by_text[id(message.parts)] for message in source.messages if id(message.parts) in by_text}
    for message in source.messages:
        here = ids.get(message.id)
        if here is not None and here.parts and message.parent_id in ids and message.parts:
            assert here.role == message.role
    seen: set[str | None] = {None}
    for one in placed.messages:
        assert one.parent_id in seen, "parents stand first"
        assert one.parent_id is None or one.parent_id < one.id, "and sort first"
        assert read_id(one.id) is not None
        seen.add(one.id)
    assert len(seen) == len(source.messages) + 1
    tip = placed.conversation.tip_id
    assert (tip in seen) if source.messages else tip is None


def test_siblings_keep_their_order() -> None:
    source = tree(60, parent_of=lambda n: -1 if n == 0 else 0, times=False)
    placed = place(source, "account", 5)
    children = sorted(message.id for message in placed.messages if message.parent_id is not None)
    names = {message.id: message.parts for message in placed.messages}
    assert [names[child] for child in children] == [message.parts for message in source.messages[1:]]


# --- each once ------------------------------------------------------------------------------------------------------


async def test_an_id_that_belongs_to_something_else_is_not_touched(shelf: Shelf, tmp_path: Path) -> None:
    """A file that names another's conversation, or another's message in a conversation of its own."""
    await shelf.take_trees(tree(3))
    (line, *messages) = body(await shelf.export()).splitlines(keepends=True)[1:-1]
    theirs = tmp_path / "theirs.jsonl"
    for lines, count in (([line, messages[0]], 1), ([encode_line(chat_line()), *messages], 3)):
        write_file(theirs, HEADER, *lines, EndLine(0, 1, count))
        for _ in range(2):
            report = await shelf.take(theirs, "bob@example.org")
            assert report.messages in (count, 0)
    assert await shelf.count("messages") == 3 + 1 + 3
    assert await examine(shelf.db) == []


async def test_twice_is_once_and_what_grew_is_added(shelf: Shelf) -> None:
    assert (await shelf.take_trees(tree(4), tree(3, "b"))).messages == 7
    actor = await shelf.actor()
    report = await shelf.take_trees(tree(6), tree(3, "b"))
    assert (report.new, report.grown, report.there, report.messages) == (0, 1, 1, 2)
    assert await shelf.count("messages") == 9
    assert await shelf.find("pelican5", actor.account.email)
    assert await examine(shelf.db) == []


async def test_another_account_gets_trees_of_its_own(shelf: Shelf, tmp_path: Path) -> None:
    await shelf.take_trees(tree(5))
    file = write_file(tmp_path / "ann.jsonl", await shelf.export())
    for _ in range(2):
        report = await shelf.take(file, "bob@example.org")
    assert (report.new, report.there) == (0, 1)
    assert await shelf.count("messages") == 10
    back = [conversation for _, conversation in read_export(io.BytesIO(await shelf.export("bob@example.org")))]
    assert [m.parts for m in back[0].messages] == [m.parts for m in tree(5).messages]
    assert await shelf.find("pelican3", "bob@example.org") != await shelf.find("pelican3")
    assert await examine(shelf.db) == []


async def test_what_was_deleted_here_stays_away_or_comes_as_another(ann: Person, tmp_path: Path) -> None:
    chat = await ann.start()
    first = await ann.ask(chat, "one")
    second = await ann.ask(chat, "two", parent=first.reply_id)
    shelf = Shelf(ann.house.db)  # type: ignore[arg-type]
    file = write_file(tmp_path / "ann.jsonl", await shelf.export("ann@example.org"))
    await ann.house.conversations.delete_message(ann.actor, second.question_id or "")
    report = await shelf.take(file)
    assert (report.there, report.left_deleted, report.messages) == (1, 2, 0)
    assert await ann.texts(chat) == ["one", *(await ann.texts(chat))[1:]]
    await ann.house.conversations.delete(ann.actor, chat)
    report = await shelf.take(file)
    assert (report.new, report.messages) == (1, 4)
    assert (await shelf.take(file)).there == 1
    lines, _ = await ann.house.conversations.list(ann.actor)
    assert len(lines) == 1 and lines[0].id != chat


async def test_several_accounts_each_get_theirs(shelf: Shelf, other: Shelf, tmp_path: Path) -> None:
    await shelf.take_trees(tree(3))
    await shelf.take_trees(tree(4, "b"), email="bob@example.org")
    both = await shelf.export("ann@example.org", "bob@example.org")
    source = ImportFile(write_file(tmp_path / "both.jsonl", both), [])
    assert survey(source).emails == {"ann@example.org", "bob@example.org"}
    actors = {email: await other.actor(email) for email in ("ann@example.org", "bob@example.org")}
    await take_file(other.db, source, actors)
    assert body(await other.export("ann@example.org", "bob@example.org")) == body(both)


async def test_the_example_of_the_documentation_is_read(shelf: Shelf, tmp_path: Path) -> None:
    example = FORMAT_PAGE.read_text().partition("```json\n")[2].partition("```")[0]
    report = await shelf.take(write_file(tmp_path / "example.jsonl", example.encode()))
    assert (report.new, report.messages) == (1, 3)
    assert body(await shelf.export()) == body(example.encode())


# --- damaged, cut, foreign ------------------------------------------------------------------------------------------

ROOT, CHILD = new_id(), new_id()


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([HEADER, chat_line(), b'{"type":"message",,}\n'], "Line 3 cannot be read"),
        ([HEADER, chat_line(), b"\xff\xfe\n"], "Line 3 cannot be read"),
        ([HEADER, b'{"type":"song"}\n'], "Line 2 cannot be read"),
        ([HEADER, b"[" * 100_000 + b"\n"], "Line 2 cannot be read"),
        ([HEADER, message_line()], "Line 2 is a message of no conversation"),
        ([HEADER, chat_line(), message_line(ROOT), message_line(ROOT)], "Line 4 has the id of a message before it"),
        ([HEADER, chat_line(), message_line(ROOT, CHILD), EndLine(0, 1, 1)], "Line 4 ends a conversation that lacks"),
        (
            [HEADER, chat_line(), message_line(ROOT), EndLine(0, 1, 2)],
            "Line 4 tells of 0 accounts, 1 conversations and 2 messages",
        ),
        ([HEADER, chat_line(), message_line(ROOT)], "ends after line 3, before its end"),
        ([HEADER, EndLine(0, 0, 0), chat_line()], "Line 3 stands after the end"),
        ([HEADER, HEADER], "Line 2 is a second header"),
        ([HeaderLine(FORMAT, 2, "chatserver 9", 1)], "Line 1 says that the file is of version 2, made by chatserver 9"),
        (
            [HEADER, chat_line(), message_line(ROOT, CHILD), message_line(CHILD, ROOT), EndLine(0, 1, 2)],
            "runs in a circle",
        ),
        ([HEADER, chat_line(), b'{"type":"message","id":""}\n'], "Line 3 cannot be read"),
    ],
)
async def test_a_damaged_file_changes_nothing(
    shelf: Shelf, tmp_path: Path, lines: list[Line | bytes], words: str
) -> None:
    with pytest.raises(BadInput) as caught:
        await shelf.take(write_file(tmp_path / "bad.jsonl", *lines))
    assert words in caught.value.message
    assert await shelf.count("conversations") == 0


async def test_what_is_not_utf_8_is_a_sentence_wherever_it_stands(shelf: Shelf, tmp_path: Path) -> None:
    good = b"".join(map(encode_line, (HEADER, chat_line(), message_line(text="hello"), EndLine(0, 1, 1))))
    for broken in (
        good.replace(b"hello", b"\xff"),
        good.replace(b"A chat", b"\xff"),
        good.replace(b"chatserver t", b"\xff"),
    ):
        with pytest.raises(BadInput):
            await shelf.take(write_file(tmp_path / "x", broken))
    assert await shelf.count("conversations") == 0
    report = await shelf.take(write_file(tmp_path / "x", b"\xef\xbb\xbf" + good.replace(b"\n", b"\r\n")))
    assert report.new == 1, "some editors put a mark before, and end lines in two characters"


async def test_what_stands_before_the_damage_is_not_taken_either(shelf: Shelf, tmp_path: Path) -> None:
    good = [line for _ in range(400) for line in (chat_line(), message_line())]
    with pytest.raises(BadInput, match="Line 802 cannot be read"):
        await shelf.take(write_file(tmp_path / "bad.jsonl", HEADER, *good, b"{}\n"))
    assert await shelf.count("conversations") == 0


async def test_a_file_cut_anywhere_changes_nothing(shelf: Shelf, other: Shelf, tmp_path: Path) -> None:
    await shelf.take_trees(tree(8), tree(3, "b"))
    whole = await shelf.export()
    for size in range(0, len(whole), 97):
        with pytest.raises(BadInput):
            await other.take(write_file(tmp_path / "cut.jsonl", whole[:size]))
    assert await other.count("conversations") == 0


@pytest.mark.parametrize(
    "content", [b"", b"\x00" * 100, b"PK\x03\x04rubbish", b'{"a": 1}', b"hello", b"[]", b"\xef\xbb\xbf"]
)
async def test_what_is_no_export_is_a_sentence(shelf: Shelf, tmp_path: Path, content: bytes) -> None:
    with pytest.raises(BadInput, match="known here"):
        await shelf.take(write_file(tmp_path / "x", content))


async def test_ids_that_are_not_ours_are_given_anew_and_stay_so(shelf: Shelf, tmp_path: Path) -> None:
    """A file somebody wrote by hand."""
    lines = [HEADER, chat_line("my-chat"), message_line("q"), message_line("r", "q", "pelican"), EndLine(0, 1, 2)]
    for _ in range(2):
        report = await shelf.take(write_file(tmp_path / "x.jsonl", *lines))
    assert (report.new, report.there) == (0, 1)
    (found,) = await shelf.find("pelican")
    assert read_id(found) is not None


def test_ids_are_read_as_they_are_written() -> None:
    for text in (new_id(), "0" * 26, "7" + "z" * 25):
        value = read_id(text)
        assert value is not None and write_id(value) == text
    for text in ("", "8" + "0" * 25, "A" * 26, "i" * 26, "0" * 25):
        assert read_id(text) is None


# --- large, killed, full --------------------------------------------------------------------------------------------


async def test_a_large_tree_comes_into_sight_whole(shelf: Shelf) -> None:
    """It is written in parts; somebody who looks in between sees none of them."""
    seen = []

    class Watched:
        engine = "sqlite"

        async def read(self, function: Any) -> Any:
            return await shelf.db.read(function)

        async def write(self, function: Any) -> Any:
            seen.append((await shelf.count("messages"), await shelf.count("conversations WHERE deletion_id IS NULL")))
            assert await examine(shelf.db) == []
            return await shelf.db.write(function)

    imports = Imports(Watched(), await shelf.actor())  # type: ignore[arg-type]
    size = MESSAGES_AT_ONCE * 2 + 10
    await imports.take(tree(size))
    assert seen == [(0, 0), (0, 0), (MESSAGES_AT_ONCE, 0), (MESSAGES_AT_ONCE * 2, 0), (size, 0)]
    assert await shelf.count("conversations WHERE deletion_id IS NULL") == 1
    assert (imports.report.new, imports.report.messages) == (1, size)
    assert await shelf.count("deletions") == 0
    assert await examine(shelf.db) == []


class Stopped(Exception):
    pass


class StopsAfter:
    """A database that fails at its n-th write, as a full disk does."""

    engine = "sqlite"

    def __init__(self, shelf: Shelf, writes: int) -> None:
        self._shelf = shelf
        self._left = writes

    async def read(self, function: Any) -> Any:
        return await self._shelf.db.read(function)

    async def write(self, function: Any) -> Any:
        if self._left == 0:
            raise StorageFull("The server's disk is full.")
        self._left -= 1
        return await self._shelf.db.write(function)


async def test_a_full_disk_leaves_whole_trees_and_the_next_try_goes_on(
    shelf: Shelf, other: Shelf, tmp_path: Path
) -> None:
    await shelf.take_trees(*(tree(20, f"t{n}") for n in range(40)), tree(MESSAGES_AT_ONCE * 2, "large"))
    whole = await shelf.export()
    file = write_file(tmp_path / "all.jsonl", whole)
    actor = await other.actor()
    for writes in range(50):
        source = ImportFile(file, [])
        try:
            await take_file(StopsAfter(other, writes), source, {"ann@example.org": actor})  # type: ignore[arg-type]
            break
        except StorageFull as error:
            assert "were taken before it was, each whole" in error.message and "nothing" not in error.message
        assert await examine(other.db) == []
        counts = [len(conversation.messages) for _, conversation in read_export(io.BytesIO(await other.export()))]
        assert all(count in (20, MESSAGES_AT_ONCE * 2) for count in counts), "a tree is whole or not there"
    assert body(await other.export()) == body(whole)
    assert await other.count("deletions") == 0


async def test_a_database_that_is_away_for_a_moment_is_waited_for(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatserver.chat.imports.WAITS_S", (0.0, 0.01))
    tries = []

    class Away:
        engine = "sqlite"
        read = shelf.db.read

        async def write(self, function: Any) -> Any:
            tries.append(1)
            if len(tries) % 3:
                raise Unavailable("Another program holds the database.")
            return await shelf.db.write(function)

    imports = Imports(Away(), await shelf.actor())  # type: ignore[arg-type]
    await imports.take(tree(4))
    await imports.flush()
    assert (len(tries), await shelf.count("messages")) == (3, 4)


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
async def test_importing_beside_a_house_that_is_busy(ann: Person) -> None:
    """Two processes' worth of writers on one file; nobody is told that it is locked."""
    beside = Shelf(SqliteDatabase.open(ann.house.db.path, alone=False))  # type: ignore[attr-defined]
    trees = [tree(20, f"t{number}") for number in range(150)]
    importing = asyncio.ensure_future(beside.take_trees(*trees, tree(2_000, "large")))
    chat = await ann.start()
    sent = 0
    while not importing.done():
        answer = await ann.house.sending.send(ann.actor, chat, None, "meanwhile", "fake-n5")
        await ann.ended(answer.turn_id)
        sent += 1
    report = await importing
    await beside.db.close()
    assert (report.new, report.messages) == (151, 5_000)
    assert sent > 0
    assert await examine(ann.house.db) == []


async def test_an_import_that_is_never_completed_is_erased_in_time(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    imports = Imports(StopsAfter(shelf, 3), await shelf.actor())  # type: ignore[arg-type]
    with pytest.raises(StorageFull):
        await imports.take(tree(MESSAGES_AT_ONCE * 3))
    assert await shelf.count("messages") == MESSAGES_AT_ONCE * 2
    assert await shelf.find("pelican3") == []
    late = now_us() + DELETIONS_KEPT_US + 60_000_000
    monkeypatch.setattr("chatserver.chat.housekeeping.now_us", lambda: late)
    await Housekeeping(shelf.db, lambda: False).run({})
    for table in ("messages", "conversations", "search_entries", "search_index", "deletions"):
        assert await shelf.count(table) == 0


async def test_a_tree_whose_ids_do_not_sort_can_be_erased(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """As two nodes' clocks may make them."""
    low, high = new_id(), new_id()
    lines = [HEADER, chat_line(), message_line(high), message_line(low, high), EndLine(0, 1, 2)]
    imports = Imports(shelf.db, await shelf.actor())
    ((_, conversation),) = read_export(io.BytesIO(b"".join(encode_line(line) for line in lines)))
    await imports.take(conversation)
    await imports.flush()
    assert await examine(shelf.db) == []
    hide = "UPDATE conversations SET deletion_id = 'd'"
    row = "INSERT INTO deletions SELECT 'd', id, NULL, NULL, 2, 1 FROM conversations"
    await shelf.db.write(lambda tx: (tx.run(hide), tx.run(row)))
    await Housekeeping(shelf.db, lambda: False).run({})
    assert await shelf.count("messages") == 0


def test_killed_at_random_an_import_leaves_whole_trees_only(tmp_path: Path) -> None:
    async def prepare() -> bytes:
        source, target = await Shelf.open(tmp_path / "source.db"), await Shelf.open(tmp_path / "target.db")
        await source.take_trees(*(tree(30, f"t{n}") for n in range(60)), tree(MESSAGES_AT_ONCE * 4, "large"))
        await target.actor()
        whole = await source.export()
        await source.db.close()
        await target.db.close()
        return whole

    async def look() -> bytes:
        target = await Shelf.open(tmp_path / "target.db")
        try:
            assert await examine(target.db) == []
            return await target.export()
        finally:
            await target.db.close()

    whole = asyncio.run(prepare())
    write_file(tmp_path / "all.jsonl", whole)
    command = [sys.executable, "-m", "tests.chat.importer", str(tmp_path / "target.db"), str(tmp_path / "all.jsonl")]
    for commits in (1, 2, 3, 5):
        child = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert child.stdout is not None
        for _ in range(commits):
            child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        counts = [len(found.messages) for _, found in read_export(io.BytesIO(asyncio.run(look())))]
        assert all(count in (30, MESSAGES_AT_ONCE * 4) for count in counts)
    done = subprocess.run(command, capture_output=True, timeout=50)
    assert done.returncode == 0, done.stderr
    assert body(asyncio.run(look())) == body(whole)


def many_lines(count: int) -> Iterator[bytes]:
    yield encode_line(HEADER)
    conversations = count // 20
    for _ in range(conversations):
        yield encode_line(chat_line())
        above: str | None = None
        for number in range(20):
            line = message_line(new_id(), above, f"pelican {number} " * 40)
            above = line.id
            yield encode_line(line)
    yield encode_line(EndLine(0, conversations, count))


async def test_thousands_of_messages_are_taken_and_given_whole(shelf: Shelf, tmp_path: Path) -> None:
    """How quick it is stands in docs/performance.md; here, that nothing is lost on the way."""
    count = 6_000
    file = write_file(tmp_path / "many.jsonl", *many_lines(count))
    assert (await shelf.take(file)).messages == count
    given = [len(found.messages) for _, found in read_export(io.BytesIO(await shelf.export()))]
    assert sum(given) == count
