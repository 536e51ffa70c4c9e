"""Other programs' exports, taken into an account: found by content, also inside an archive, each tree once."""

from __future__ import annotations

import base64
import json
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import chatserver_imports
import pytest

from chatserver.chat.doctor import examine
from chatserver.chat.import_files import ImportFile
from chatserver.chat.imports import ImportReport, survey, take_file
from chatserver.domain.files import file_ids
from chatserver.domain.imported import ImportedConversation, ImportedMessage, Importer
from chatserver.domain.messages import FilePart, ImagePart, text_of
from chatserver.errors import BadInput
from chatserver.testing.upstream import FakeUpstream
from tests.chat.conftest import Person
from tests.chat.test_export import Shelf, write_file
from tests.running import RunningServer

FIXTURES = Path(__file__).resolve().parents[2] / "plugins" / "imports" / "tests" / "fixtures"
IMPORTERS = chatserver_imports.register_importers()
PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAQAAAADCAIAAAA7ljmRAAAAEElEQVR4nGNQaGiAIwacHAAC9g2BJxBadgAAAABJRU5ErkJggg=="


@pytest.fixture
async def shelf(tmp_path: Path) -> AsyncIterator[Shelf]:
    shelf = await Shelf.open(tmp_path / "shelf.db")
    yield shelf
    await shelf.db.close()


async def take(shelf: Shelf, file: Path, email: str = "ann@example.org") -> tuple[ImportReport, ImportFile]:
    source = ImportFile(file, IMPORTERS)
    survey(source)
    reports = await take_file(shelf.db, source, {"": await shelf.actor(email)})
    return reports[""], source


@pytest.mark.parametrize("name", sorted(path.stem for path in FIXTURES.glob("*.json")))
async def test_each_format_comes_in_once_and_whole(shelf: Shelf, name: str) -> None:
    first, source = await take(shelf, FIXTURES / f"{name}.json")
    assert first.new >= 1 and first.messages == await shelf.count("messages")
    assert source.title
    again, _ = await take(shelf, FIXTURES / f"{name}.json")
    assert (again.new, again.grown, again.messages, again.there) == (0, 0, 0, first.new)
    bobs, _ = await take(shelf, FIXTURES / f"{name}.json", "bob@example.org")
    assert (bobs.new, bobs.messages) == (first.new, first.messages)
    assert await examine(shelf.db) == []


async def test_an_archive_is_read_as_it_was_downloaded(shelf: Shelf, tmp_path: Path) -> None:
    file = tmp_path / "download"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(FIXTURES / "chatgpt.json", "conversations.json")
        archive.writestr("user.json", '{"id": "user-1", "email": "ann@example.org"}')
        archive.writestr("chat.html", "<html>")
    report, source = await take(shelf, file)
    assert (source.title, report.new) == ("ChatGPT", 2)
    assert sorted(source.left) == ["chat.html", "user.json"]
    assert any("custom instructions" in note for note in report.notes)
    assert await shelf.find("trying")


def chatgpt_archive(path: Path, *, of_today: bool = True) -> Path:
    """As one downloads it: chats in pieces, files without endings beside them, and an index of their names."""
    picture = base64.b64decode(PICTURE)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conversations-000.json", (FIXTURES / "chatgpt-2026.json").read_bytes())
        archive.writestr("conversation_asset_file_names.json", '{"file_0000abcd.dat": "harbour.png"}')
        archive.writestr("user.json", '{"id": "user-1"}')
        archive.writestr("file-9Notes.dat" if of_today else "file-9Notes-notes.txt", "low tide at six")
        archive.writestr("file_0000abcd.dat" if of_today else "user-1/file_0000abcd-harbour.png", picture)
        archive.writestr("file_0000abcdef.dat", b"of another chat")
        archive.writestr("file-broken.json", b'{"cut')
        archive.writestr("../../evil.dat", b"x")
    return path


@pytest.mark.parametrize("of_today", [True, False])
async def test_files_of_an_archive_come_along_with_the_chats_that_name_them(
    ann: Person, tmp_path: Path, of_today: bool
) -> None:
    file = chatgpt_archive(tmp_path / "export.zip", of_today=of_today)
    taken = ImportFile(file, IMPORTERS)
    survey(taken)
    assert not {"file-9Notes.dat", "file_0000abcd.dat"} & set(taken.left) and "file-broken.json" in taken.left
    reports = await take_file(ann.house.db, taken, {"": ann.actor}, ann.house.files)
    assert (reports[""].new, reports[""].files, dict(reports[""].notes)) == (1, 2, {})
    ((line,), _) = await ann.house.conversations.list(ann.actor)
    tree = await ann.house.conversations.tree(ann.actor, line.id)
    picture, words, notes = next(m for m in tree if m.role == "user" and m.parent_id is None).parts
    assert isinstance(picture, ImagePart) and (picture.width, picture.height) == (4, 3)
    assert text_of((words,)) == "Where is this?"
    assert isinstance(notes, FilePart) and (notes.name, notes.media_type) == ("notes.txt", "text/plain")
    held, _ = await ann.house.files.list(ann.actor)
    assert {one.id for one in held} == {picture.file_id, notes.file_id}
    again = await take_file(ann.house.db, ImportFile(file, IMPORTERS), {"": ann.actor}, ann.house.files)
    assert (again[""].there, again[""].files) == (1, 0)
    assert await examine(ann.house.db) == []


async def test_files_may_come_after_the_chats_that_name_them(ann: Person, tmp_path: Path) -> None:
    """First the bare conversations.json, as one unpacked it; then the archive."""
    bare = write_file(tmp_path / "conversations.json", (FIXTURES / "chatgpt-2026.json").read_bytes())
    first = await take_file(ann.house.db, ImportFile(bare, IMPORTERS), {"": ann.actor}, ann.house.files)
    assert sum(first[""].notes.values()) == 2, "of each file the name is told"
    whole = chatgpt_archive(tmp_path / "export.zip")
    then = await take_file(ann.house.db, ImportFile(whole, IMPORTERS), {"": ann.actor}, ann.house.files)
    assert (then[""].there, then[""].files) == (1, 2)
    ((line,), _) = await ann.house.conversations.list(ann.actor)
    tree = await ann.house.conversations.tree(ann.actor, line.id)
    held, _ = await ann.house.files.list(ann.actor)
    assert {one.id for one in held} == set(file_ids(next(m for m in tree if m.parent_id is None).parts))


async def test_pictures_that_a_document_holds_itself_are_kept_as_pictures(ann: Person) -> None:
    taken = ImportFile(FIXTURES / "openwebui.json", IMPORTERS)
    reports = await take_file(ann.house.db, taken, {"": ann.actor}, ann.house.files)
    assert reports[""].files == 1
    (held,), _ = await ann.house.files.list(ann.actor)
    assert (held.media_type, held.width, held.height) == ("image/png", 4, 3)
    lines, _ = await ann.house.conversations.list(ann.actor)
    sums = await ann.house.conversations.get(ann.actor, next(line.id for line in lines if line.title == "Sums"))
    assert (sums.tags, sums.tuning.system_prompt) == (("school",), "Be brief")


async def test_a_later_export_adds_what_is_new(shelf: Shelf, tmp_path: Path) -> None:
    await take(shelf, FIXTURES / "librechat-flat.json")
    later = json.loads((FIXTURES / "librechat-flat.json").read_text())
    later["messages"].append(
        {"messageId": "f4", "parentMessageId": "f3", "text": "pelican", "createdAt": "2024-05-02T10:00:03.000Z"}
    )
    report, _ = await take(shelf, write_file(tmp_path / "later.json", json.dumps(later).encode()))
    assert (report.grown, report.messages) == (1, 1)
    assert await shelf.find("pelican")
    assert await examine(shelf.db) == []


async def test_a_byte_order_mark_does_not_matter(shelf: Shelf, tmp_path: Path) -> None:
    raw = b"\xef\xbb\xbf" + (FIXTURES / "claude.json").read_bytes()
    assert (await take(shelf, write_file(tmp_path / "x", raw)))[0].new == 2


async def test_cut_and_bombed_files_change_nothing(shelf: Shelf, tmp_path: Path) -> None:
    raw = (FIXTURES / "chatgpt.json").read_bytes()
    with pytest.raises(BadInput, match="damaged or was cut"):
        await take(shelf, write_file(tmp_path / "cut.json", raw[:-10]))
    with zipfile.ZipFile(tmp_path / "good.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conversations.json", raw)
    whole = (tmp_path / "good.zip").read_bytes()
    for size in (30, len(whole) // 2, len(whole) - 3):
        with pytest.raises(BadInput):
            await take(shelf, write_file(tmp_path / "cut.zip", whole[:size]))
    broken = whole.replace(whole[200:210], b"\x00" * 10)
    with pytest.raises(BadInput, match="damaged"):
        await take(shelf, write_file(tmp_path / "broken.zip", broken))
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conversations.json", b" " * 50_000_000)
    with pytest.raises(BadInput, match="too much"):
        await take(shelf, tmp_path / "bomb.zip")
    assert await shelf.count("conversations") == 0


async def test_a_person_goes_on_where_they_were(ann: Person, fake_upstream: FakeUpstream) -> None:
    """An imported chat is looked at, searched, continued and branched like any other."""
    shelf = Shelf(ann.house.db)
    await take(shelf, FIXTURES / "chatgpt.json")
    (line,), _ = await ann.house.conversations.list(ann.actor)
    assert line.title == "Prime numbers" and line.branches == 3
    view = await ann.house.conversations.view(ann.actor, line.id)
    assert [item.message.role for item in view.items] == ["user", "assistant", "user", "assistant"]
    assert [len(item.versions) for item in view.items] == [1, 2, 2, 1]
    sent = await ann.ask(line.id, "and 98?", parent=view.tip_id, model="fake-echo")
    asked = fake_upstream.chats()[-1].json["messages"]
    assert [one["role"] for one in asked] == ["user", "assistant", "user", "assistant", "tool", "assistant", "user"]
    assert asked[4]["tool_call_id"] == asked[3]["tool_calls"][0]["id"]
    assert (await ann.texts(line.id, sent.reply_id))[-1] == "and 98?"
    again = await ann.house.sending.regenerate(ann.actor, view.items[1].message.id, "fake-n5")
    await ann.ended(again.turn_id)
    assert (await ann.house.conversations.get(ann.actor, line.id)).branches == 4
    assert len(await ann.house.conversations.search(ann.actor, "rest is 0")) == 1
    assert await examine(ann.house.db) == []


async def test_an_importer_that_fails_is_named_and_nothing_is_taken(shelf: Shelf, tmp_path: Path) -> None:
    def read(document: memoryview) -> Iterator[ImportedConversation]:
        yield ImportedConversation("a", "A", (ImportedMessage("m", None, "user", ()),))
        raise KeyError("price")

    def recognises(document: memoryview) -> bool:
        raise RuntimeError("no")

    file = write_file(tmp_path / "x.json", b'{"a": 1}')
    broken = [Importer("shy", "Shy", recognises, read), Importer("rash", "Rash", lambda _: True, read)]
    with pytest.raises(BadInput, match="importer for Rash failed at x.json"):
        survey(ImportFile(file, broken))
    assert await shelf.count("conversations") == 0


@pytest.mark.timeout(180)
def test_the_commands(tmp_path: Path) -> None:
    server = RunningServer(tmp_path / "house", "")
    server.run("account", "create", "--email", "ann@example.org")
    said = server.run("import", str(FIXTURES / "openwebui.json"), "--account", "ann@example.org")
    assert "Open WebUI → ann@example.org: 3 new conversations, 8 messages." in said
    assert "Not taken as it was, 1 ×: a share link" not in said
    assert "1 files came along." in said and "Not taken as it was, 1 ×: that a conversation lies in a folder" in said
    said = server.run("import", str(FIXTURES / "openwebui.json"), "--account", "ann@example.org")
    assert "3 conversations were here already." in said
    file = tmp_path / "ann.jsonl"
    server.run("export", "--account", "ann@example.org", "--out", str(file))
    assert server.run("export").splitlines()[1:] == file.read_text().splitlines()[1:]
    assert "3 conversations were here already." in server.run("import", str(file))
    assert not list(tmp_path.glob("*.part"))
