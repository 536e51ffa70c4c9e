"""Files inside exports: each once, checked, taken in under ids that are one's own, and tied to the messages they came
with."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from chatserver.chat.export_reader import read_export
from chatserver.chat.exports import Exports
from chatserver.chat.import_files import ImportFile
from chatserver.chat.imports import ImportReport, survey, take_file
from chatserver.domain.access import Actor
from chatserver.domain.files import StoredFile, file_ids
from chatserver.domain.messages import text_of
from chatserver.errors import BadInput, NotFound
from chatserver.house import House
from chatserver.testing.upstream import FakeUpstream
from tests.chat.conftest import Person, Place, close_house, open_house

Lines = list[dict[str, Any]]


def a_picture() -> bytes:
    out = io.BytesIO()
    Image.effect_noise((900, 700), 90).convert("RGB").save(out, "PNG")
    return out.getvalue()


async def bring(who: Person, name: str, content: bytes) -> StoredFile:
    path = who.house.blobs.spool / name
    path.write_bytes(content)
    try:
        return await who.house.files.bring_in(who.actor, name, path)
    finally:
        path.unlink()


async def send(who: Person, text: str, *files: StoredFile) -> str:
    sent = await who.house.sending.send(who.actor, None, None, text, "fake-n5", attachments=[one.id for one in files])
    await who.ended(sent.turn_id)
    return sent.conversation_id


async def export(who: Person) -> bytes:
    exports = Exports(who.house.db, "chatserver test", who.house.blobs)
    return b"".join([piece async for piece in exports.export([who.actor.account])])


async def take(who: Person, file: Path) -> ImportReport:
    source = ImportFile(file, [])
    found = survey(source)
    reports = await take_file(who.house.db, source, dict.fromkeys({*found.emails, ""}, who.actor), who.house.files)
    return max(reports.values(), key=lambda one: one.new + one.grown + one.there)


def lines_of(export: bytes) -> Lines:
    return [json.loads(line) for line in export.splitlines()]


def write(path: Path, lines: Lines | bytes) -> Path:
    path.write_bytes(lines if isinstance(lines, bytes) else b"".join(json.dumps(one).encode() + b"\n" for one in lines))
    return path


async def files_by_chat(who: Person) -> dict[str, list[tuple[str, str]]]:
    """What each chat's first message holds: name and what the file is, by its words."""
    found = {}
    for conversation in (await who.house.conversations.list(who.actor))[0]:
        (first, *_) = await who.house.conversations.path(who.actor, conversation.id)
        files = [await who.house.files.get(who.actor, one) for one in file_ids(first.parts)]
        found[text_of(first.parts)] = [
            (one.name, hashlib.sha256(await who.house.files.whole(one.sha256)).hexdigest()) for one in files
        ]
    return found


@pytest.fixture
async def other(tmp_path: Path, fake_upstream: FakeUpstream) -> AsyncIterator[Person]:
    """Somebody on another server, on SQLite."""
    (tmp_path / "other").mkdir()
    house = await open_house(tmp_path / "other" / "chat.db", fake_upstream)
    yield Person(house, Actor(await house.accounts.create("cy@example.org"), "web"))
    await close_house(house)


@pytest.fixture
async def filled(house: House, ann: Person) -> Person:
    """Ann has a picture in two chats and a text in one of them."""
    seen = await bring(ann, "garden.png", a_picture())
    notes = await bring(ann, "notes.txt", "Straße\n".encode() * 200_000)
    await send(ann, "What is this?", seen, notes)
    await send(ann, "And once more", seen)
    return ann


async def test_files_go_out_once_before_the_messages_that_name_them(filled: Person) -> None:
    lines = lines_of(await export(filled))
    files = [one for one in lines if one["type"] == "file"]
    assert sorted(one["name"] for one in files) == ["garden.png", "notes.txt"]
    kinds = [one["type"] for one in lines]
    assert kinds.index("conversation") < kinds.index("file") < kinds.index("message")
    assert lines[-1]["files"] == 2
    for file in files:
        start = lines.index(file) + 1
        pieces = []
        while lines[start]["type"] == "piece":
            pieces.append(base64.b64decode(lines[start]["data"]))
            start += 1
        content = b"".join(pieces)
        assert len(pieces) > 1
        assert len(content) == file["size_bytes"]
        assert hashlib.sha256(content).hexdigest() == file["sha256"]


async def test_there_and_back_and_every_time_the_same(filled: Person, other: Person, tmp_path: Path) -> None:
    first = write(tmp_path / "first.jsonl", await export(filled))
    report = await take(other, first)
    assert (report.new, report.files, dict(report.notes)) == (2, 2, {})
    had = await files_by_chat(filled)
    assert await files_by_chat(other) == had
    assert sorted(map(len, had.values())) == [1, 2]
    again = await take(other, first)
    assert (again.new, again.there, again.files) == (0, 2, 0)
    back = lines_of(await export(other))
    out = lines_of(first.read_bytes())
    names = {one["id"] for one in back if one["type"] == "file"}
    assert names == {one["id"] for one in out if one["type"] == "file"}, "ids that are free are kept"
    await other.house.files.collect(unsent_us=0)
    await other.house.blobs.collect(grace_us=0)
    assert await files_by_chat(other) == had, "what came is tied to its messages"


async def test_another_account_of_the_same_server_gets_files_of_its_own(
    filled: Person, bob: Person, tmp_path: Path
) -> None:
    file = write(tmp_path / "ann.jsonl", await export(filled))
    assert (await take(bob, file)).files == 2
    assert await files_by_chat(bob) == await files_by_chat(filled)
    ids = {one.id for one in (await filled.house.files.list(filled.actor))[0]}
    own = {one.id for one in (await bob.house.files.list(bob.actor))[0]}
    assert len(ids) == len(own) == 2
    assert not ids & own
    assert (await take(bob, file)).files == 0
    assert {one.id for one in (await bob.house.files.list(bob.actor))[0]} == own


async def test_naming_somebody_elses_file_gives_nothing_of_it(filled: Person, bob: Person, tmp_path: Path) -> None:
    """A file of an export by hand, that names Ann's files and brings none of them."""
    lines = [one for one in lines_of(await export(filled)) if one["type"] not in ("file", "piece")]
    del lines[-1]["files"]
    report = await take(bob, write(tmp_path / "claims.jsonl", lines))
    assert (report.new, report.files) == (2, 0)
    theirs = {one.id for one in (await filled.house.files.list(filled.actor))[0]}
    for conversation in (await bob.house.conversations.list(bob.actor))[0]:
        for message in await bob.house.conversations.path(bob.actor, conversation.id):
            for file_id in file_ids(message.parts):
                assert file_id not in theirs
                with pytest.raises(NotFound):
                    await bob.house.files.get(bob.actor, file_id)


async def test_what_came_without_its_file_gets_it_the_next_time(filled: Person, other: Person, tmp_path: Path) -> None:
    whole = await export(filled)
    lines = [one for one in lines_of(whole) if one["type"] not in ("file", "piece")]
    del lines[-1]["files"]
    assert (await take(other, write(tmp_path / "without.jsonl", lines))).new == 2
    with pytest.raises(NotFound):
        await files_by_chat(other)
    later = await take(other, write(tmp_path / "with.jsonl", whole))
    assert (later.there, later.files) == (2, 2)
    await other.house.files.collect(unsent_us=0)
    assert await files_by_chat(other) == await files_by_chat(filled)
    (one, *_) = (await other.house.files.list(other.actor))[0]
    await filled.house.files.collect(unsent_us=0)
    assert await other.house.db.read(
        lambda tx: tx.one(int, "SELECT COUNT(*) FROM message_files WHERE file_id = :id", id=one.id)
    )


async def test_lost_and_changed_content_is_told_and_stops_nothing(
    filled: Person, other: Person, tmp_path: Path
) -> None:
    store: Any = filled.house.blobs._store
    files = {one.name: one for one in (await filled.house.files.list(filled.actor))[0]}
    await store.delete(files["garden.png"].sha256)
    (path,) = store.folder.rglob(files["notes.txt"].sha256 + "*")
    path.chmod(0o600)
    path.write_bytes(b"other words")
    lines = lines_of(await export(filled))
    assert [one["is_lost"] for one in lines if one["type"] == "file"] == [True, True]
    assert not [one for one in lines if one["type"] == "piece"]
    report = await take(other, write(tmp_path / "lost.jsonl", lines))
    assert (report.new, report.files) == (2, 0)


async def test_a_file_that_was_changed_on_its_way_is_refused(filled: Person, bob: Person, tmp_path: Path) -> None:
    lines = lines_of(await export(filled))
    at = next(number for number, one in enumerate(lines) if one["type"] == "piece")
    file = next(number for number, one in enumerate(lines) if one["type"] == "file")
    content = base64.b64decode(lines[at]["data"])
    other_bytes = {"type": "piece", "data": base64.b64encode(bytes([content[0] ^ 1]) + content[1:]).decode()}
    for changed, words in (
        ([*lines[:at], other_bytes, *lines[at + 1 :]], "not what was exported"),
        ([*lines[:at], *lines[at + 1 :]], "not what was exported"),
        ([*lines[: at + 1], *lines[at:]], "not what was exported|after its end"),
        ([*lines[:file], *lines[file + 1 :]], "is a piece of no file"),
        ([lines[0], lines[file], *lines[1:]], "is a file of no conversation"),
        ([*lines[:-1], {**lines[-1], "files": 1}], "with 1 files"),
        ([*lines[:at], {"type": "piece", "data": "%%%"}, *lines[at + 1 :]], "cannot be read"),
    ):
        with pytest.raises(BadInput, match=words):
            await take(bob, write(tmp_path / "changed.jsonl", changed))
    assert (await bob.house.conversations.list(bob.actor))[0] == []
    assert (await bob.house.files.list(bob.actor))[0] == []


async def test_what_no_file_may_be_comes_without_it_and_says_so(filled: Person, bob: Person, tmp_path: Path) -> None:
    """An export by hand may hold anything: it is looked into like any upload."""
    program = b"\x7fELF" + bytes(2_000)
    lines = lines_of(await export(filled))
    file = next(one for one in lines if one["type"] == "file" and one["name"] == "garden.png")
    start = lines.index(file) + 1
    end = next(number for number in range(start, len(lines)) if lines[number]["type"] != "piece")
    told = {**file, "size_bytes": len(program), "sha256": hashlib.sha256(program).hexdigest()}
    piece = {"type": "piece", "data": base64.b64encode(program).decode()}
    changed = [*lines[: start - 1], told, piece, *lines[end:]]
    report = await take(bob, write(tmp_path / "program.jsonl", changed))
    assert (report.new, report.files) == (2, 1)
    assert any("a file was not taken" in note for note in report.notes)


async def test_over_their_space_chats_come_without_the_files(
    place: Place, fake_upstream: FakeUpstream, other: Person, tmp_path: Path
) -> None:
    await send(other, "Look", await bring(other, "garden.png", a_picture()))
    file = write(tmp_path / "much.jsonl", await export(other))
    house = await open_house(place, fake_upstream, limits={"storage_mb": 1})
    try:
        dee = Person(house, Actor(await house.accounts.create("dee@example.org"), "web"))
        report = await take(dee, file)
        assert (report.new, report.files) == (1, 0)
        assert [note for note in report.notes if note.startswith("a file was not taken")]
    finally:
        await close_house(house)


async def test_nothing_is_left_on_the_way(filled: Person, tmp_path: Path) -> None:
    file = write(tmp_path / "x.jsonl", await export(filled))
    room = tmp_path / "room"
    room.mkdir()
    with file.open("rb") as opened:
        for _, conversation in read_export(opened, room):
            assert sorted(path.name for path in room.iterdir()) == sorted(
                Path(one.path).name for one in conversation.files
            )
    assert list(room.iterdir()) == []
    assert list(filled.house.blobs.spool.iterdir()) == []
