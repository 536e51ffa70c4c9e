"""Files of an account: what is taken and how, where it goes, what models are shown of it, and when it is taken away."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import os
import struct
import zipfile
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageCms

from chatserver.chat import blobs as blobs_module
from chatserver.chat.doctor import examine
from chatserver.clock import now_us
from chatserver.confined import Bounds, Broke, run_confined, texts
from chatserver.domain.access import Actor
from chatserver.domain.files import StoredFile, clean_name
from chatserver.domain.messages import FilePart, ImagePart, TextPart
from chatserver.errors import BadInput, Conflict, LimitReached, NotFound, StorageFull, Unavailable
from chatserver.house import House
from chatserver.store import deletions as deletion_rows
from chatserver.testing.upstream import FakeUpstream
from tests.chat.conftest import Person, Place, close_house, open_house, until


@pytest.fixture
async def house(place: Place, fake_upstream: FakeUpstream) -> AsyncIterator[House]:
    """As everywhere, with a model whose upstream says that it cannot see and reads little."""
    blind = {"id": "fake-blind", "capabilities": {"vision": False}, "context_length": 8_000}
    fake_upstream.models = [*fake_upstream.models, blind]
    house = await open_house(place, fake_upstream)
    await until(lambda: any(not model.may_see for model in house.catalog.models(["default"])))
    yield house
    await close_house(house)


def picture(width: int = 60, height: int = 40, form: str = "PNG", colour: object = "teal", **how: Any) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(out, form, **how)  # type: ignore[arg-type]
    return out.getvalue()


async def bring(who: Person, name: str, content: bytes) -> StoredFile:
    path = who.house.blobs.spool / f"from-{hashlib.sha256(content).hexdigest()[:8]}"
    path.write_bytes(content)
    try:
        return await who.house.files.bring_in(who.actor, name, path)
    finally:
        path.unlink()


async def content_of(who: Person, file: StoredFile) -> bytes:
    return await who.house.files.whole(file.sha256)


def kept_in(house: House) -> list[Path]:
    store: Any = house.blobs._store
    return sorted(path for path in store.folder.rglob("*") if path.is_file())


# --- what is taken, and as what -------------------------------------------------------------------------------------


async def test_a_picture_is_written_anew_without_what_it_told(house: House, ann: Person) -> None:
    exif = Image.Exif()
    exif[0x010E] = "my secret garden"
    exif[0x0112] = 6  # held upright
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    came = picture(60, 40, "JPEG", exif=exif, icc_profile=profile, comment=b"the comment")
    assert b"secret garden" in came
    file = await bring(ann, "C:\\photos\\garden.jpeg", came)
    assert (file.name, file.media_type, file.kind) == ("garden.jpeg", "image/jpeg", "image")
    assert (file.width, file.height) == (40, 60), "turned as the camera was held"
    kept = await content_of(ann, file)
    assert file.sha256 == hashlib.sha256(kept).hexdigest()
    assert file.size_bytes == len(kept)
    for told in (b"secret garden", b"Exif", b"ICC_PROFILE", b"the comment"):
        assert told not in kept
    thumbnail = await house.files.rendition(ann.actor, file.id, "thumbnail")
    assert thumbnail.media_type == "image/webp"
    assert file.stored_bytes == len(kept) + thumbnail.size_bytes
    as_sent = await house.files.rendition(ann.actor, file.id, "model")
    assert as_sent.sha256 == file.sha256, "small enough to be sent as it is"


async def test_pictures_of_other_kinds_become_what_a_page_can_show(ann: Person) -> None:
    for form, name, kept_as, kept_name in (
        ("BMP", "a.bmp", "image/png", "a.png"),
        ("WEBP", "a.webp", "image/webp", "a.webp"),
        ("GIF", "a.gif", "image/png", "a.png"),
        ("PNG", "lies.txt", "image/png", "lies.png"),
    ):
        file = await bring(ann, name, picture(form=form))
        assert (file.media_type, file.name) == (kept_as, kept_name), form


async def test_an_animation_moves_on_and_models_get_one_still_picture(house: House, ann: Person) -> None:
    frames = [Image.new("RGB", (30, 20), (n * 20, 0, 0)) for n in range(5)]
    out = io.BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:], duration=50)
    file = await bring(ann, "moves.gif", out.getvalue())
    assert file.media_type == "image/gif"
    with Image.open(io.BytesIO(await content_of(ann, file))) as kept:
        assert kept.n_frames == 5  # type: ignore[attr-defined]
    still = await house.files.rendition(ann.actor, file.id, "model")
    assert still.media_type == "image/jpeg"


async def test_a_large_picture_is_sent_smaller_and_kept_whole(house: House, ann: Person) -> None:
    file = await bring(ann, "wide.png", picture(3000, 1000))
    assert (file.width, file.height) == (3000, 1000)
    sent = await house.files.rendition(ann.actor, file.id, "model")
    assert (sent.width, sent.height) == (2048, 683)
    small = await house.files.rendition(ann.actor, file.id, "thumbnail")
    assert (small.width, small.height) == (512, 171)


def bomb() -> bytes:
    """A PNG of 900 million pixels in a few hundred bytes of head and a megabyte of nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes(1_000_000)))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (bomb(), "too_many_pixels"),
        (b"\x89PNG\r\n\x1a\nnothing of a picture", "damaged_picture"),
        (picture(form="JPEG")[:200], "damaged_picture"),
        (b"", "empty_file"),
        (b"MZ\x90\x00\x03\x00\x00\x00", "file_type"),
        (b"\x7fELF\x02\x01\x01\x00", "file_type"),
        (bytes(range(256)), "file_type"),
        (b"PK\x03\x04" + bytes(40), "file_type"),
    ],
    ids=["bomb", "no picture", "cut off", "empty", "program", "elf", "bytes", "zip"],
)
async def test_what_is_no_picture_text_or_document_is_refused(ann: Person, content: bytes, code: str) -> None:
    with pytest.raises(BadInput) as told:
        await bring(ann, "holiday.jpg", content)
    assert told.value.code == code
    assert (await ann.house.files.space(ann.actor)).files == 0
    assert kept_in(ann.house) == []
    assert list(ann.house.blobs.spool.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "content", "media_type", "charset"),
    [
        ("notes.md", "# Grüße\n".encode(), "text/markdown", "utf-8"),
        ("table.csv", b"a,b\r\n1,2\r\n", "text/csv", "utf-8"),
        ("picture.svg", b"<svg onload='alert(1)'/>", "text/plain", "utf-8"),
        ("page.html", b"<script>alert(1)</script>", "text/plain", "utf-8"),
        ("marked.txt", "héllo".encode("utf-8-sig"), "text/plain", "utf-8-sig"),
        ("wide.txt", "wide text, wide text".encode("utf-16"), "text/plain", "utf-16"),
        ("wider.txt", "no mark at all here".encode("utf-16-be"), "text/plain", "utf-16-be"),
        (
            "old.txt",
            ("这是一个用旧编码写成的文本文件，里面有很多汉字。" * 20).encode("gb18030"),
            "text/plain",
            "gb18030",
        ),
        ("western.txt", ("Où est le café près de la forêt à Noël ? " * 20).encode("latin-1"), "text/plain", None),
    ],
)
async def test_texts_are_read_in_the_encoding_they_were_written_in(
    house: House, ann: Person, name: str, content: bytes, media_type: str, charset: str | None
) -> None:
    file = await bring(ann, name, content)
    assert (file.name, file.media_type, file.kind) == (name, media_type, "text")
    if charset is not None:
        assert file.charset == charset
    else:
        assert content.decode(file.charset) == content.decode("latin-1")
    assert await content_of(ann, file) == content, "a person gets back what they brought"
    assert file.tokens > 0


@pytest.mark.parametrize(
    ("text", "charset"),
    [
        ("这是一个用旧编码写成的文本文件, with some English words.\n", "gb18030"),
        ("Où est le café près de la forêt, à Noël ?\n", "cp1252"),
    ],
)
def test_without_a_library_the_encodings_of_our_own_languages_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, charset: str
) -> None:
    monkeypatch.setattr(texts, "HAS_LIBRARY", False)
    (tmp_path / "old.txt").write_bytes((text * 20).encode(charset))
    assert texts.main(tmp_path / "old.txt") == {"charset": charset}


def office(folder: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        packed.writestr("[Content_Types].xml", "<Types/>")
        packed.writestr(f"{folder}document.xml", "<x/>")
    return out.getvalue()


async def test_documents_are_kept_as_they_are(ann: Person) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        packed.writestr("mimetype", "application/epub+zip")
    for content, media_type in (
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "application/pdf"),
        (office("word/"), "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        (office("xl/"), "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        (office("ppt/"), "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
        (out.getvalue(), "application/epub+zip"),
    ):
        file = await bring(ann, "report", content)
        assert (file.media_type, file.kind) == (media_type, "document")
        assert await content_of(ann, file) == content


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("a\\b\\c.txt", "c.txt"),
        ("  spaced \t out .txt ", "spaced out.txt"),
        ("\u202egnp.exe", "gnp.exe"),
        ("nul\x00in\x07side", "nulinside"),
        ("", "file"),
        ("...", "file"),
        ("/", "file"),
        ("x" * 400 + ".txt", "x" * 146 + ".txt"),
        ("日本語.md", "日本語.md"),
    ],
)
def test_names_are_for_people_only(given: str, kept: str) -> None:
    assert clean_name(given) == kept


# --- confined -------------------------------------------------------------------------------------------------------

GREEDY = {
    "memory": ("x = bytearray(400_000_000)", "memory"),
    "time": ("while True: pass", "time"),
    "sleep": ("import time; time.sleep(60)", "time"),
    "crash": ("import os; os.abort()", "crash"),
    "disk": ("import sys\nopen(sys.argv[1], 'wb').write(bytes(5_000_000))", "crash"),
}


@pytest.mark.parametrize("what", sorted(GREEDY))
async def test_a_confined_script_gets_no_more_than_its_bounds(tmp_path: Path, what: str) -> None:
    code, reason = GREEDY[what]
    script = tmp_path / "greedy.py"
    script.write_text(code)
    bounds = Bounds(memory_bytes=200_000_000, cpu_s=1, wall_s=3.0, file_bytes=1_000_000)
    with pytest.raises(Broke) as told:
        await run_confined(script, [str(tmp_path / "out")], bounds)
    assert told.value.reason == reason


async def test_a_confined_script_sees_neither_our_environment_nor_our_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    script = tmp_path / "look.py"
    script.write_text("import os, sys; print(dict(os.environ), [name for name in sys.modules if 'chatserver' in name])")
    said = (await run_confined(script, [])).decode()
    assert "canary" not in said
    assert said.rstrip().endswith("[]")


async def test_a_confined_script_dies_with_who_asked_for_it(tmp_path: Path) -> None:
    script, pid = tmp_path / "wait.py", tmp_path / "pid"
    script.write_text("import os, sys, time\nopen(sys.argv[1], 'w').write(str(os.getpid()))\ntime.sleep(60)")
    asking = asyncio.create_task(run_confined(script, [str(pid)]))
    async with asyncio.timeout(20):
        while not pid.exists() or not pid.read_text():
            await asyncio.sleep(0.02)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


# --- kept once, counted, and somebody's own -------------------------------------------------------------------------


async def test_the_same_content_is_kept_once_whoever_brings_it(house: House, ann: Person, bob: Person) -> None:
    first, second = await bring(ann, "a.txt", b"the same words"), await bring(bob, "b.txt", b"the same words")
    assert first.id != second.id and first.sha256 == second.sha256
    assert len(kept_in(house)) == 1
    await house.files.delete(ann.actor, first.id)
    await house.files.collect()
    await house.blobs.collect(grace_us=-1)
    assert await content_of(bob, second) == b"the same words"


async def test_somebody_elses_file_is_unknown(house: House, ann: Person, bob: Person) -> None:
    file = await bring(ann, "a.txt", b"private words")
    for ask in (
        lambda: house.files.get(bob.actor, file.id),
        lambda: house.files.rendition(bob.actor, file.id, "thumbnail"),
        lambda: house.files.delete(bob.actor, file.id),
        lambda: house.sending.send(bob.actor, None, None, "look", "fake-n5", attachments=[file.id]),
        lambda: house.files.of_plugin("x").hold(bob.actor, file.id),
    ):
        with pytest.raises(NotFound):
            await ask()
    assert (await house.files.list(bob.actor))[0] == []
    assert [one.id for one in (await house.files.list(ann.actor))[0]] == [file.id]


async def test_an_account_has_so_much_space_and_no_more(place: Place, fake_upstream: FakeUpstream) -> None:
    house = await open_house(place, fake_upstream, limits={"storage_mb": 1, "files_per_account": 3})
    ann = Person(house, Actor(await house.accounts.create("ann@example.org"), "web"))
    await bring(ann, "half.txt", b"x" * 600_000)
    with pytest.raises(LimitReached) as told:
        await bring(ann, "more.txt", b"y" * 600_000)
    assert told.value.code == "storage_mb"
    space = await house.files.space(ann.actor)
    assert (space.files, space.used_bytes, space.limit_bytes) == (1, 600_000, 1024 * 1024)
    for number in range(2):
        await bring(ann, "small.txt", f"small {number}".encode())
    with pytest.raises(LimitReached) as told:
        await bring(ann, "one too many.txt", b"z")
    assert told.value.code == "files_per_account"
    await close_house(house)


async def test_a_copy_of_what_was_shared_needs_room_as_well(place: Place, fake_upstream: FakeUpstream) -> None:
    house = await open_house(place, fake_upstream, limits={"storage_mb": 1})
    ann = Person(house, Actor(await house.accounts.create("ann@example.org"), "web"))
    bob = Person(house, Actor(await house.accounts.create("bob@example.org"), "web"))
    file = await bring(ann, "half.txt", b"x" * 600_000)
    sent = await house.sending.send(ann.actor, None, None, "Read", "fake-n5", attachments=[file.id])
    await ann.ended(sent.turn_id)
    chat = (await house.readers.turn(ann.actor, sent.turn_id)).conversation_id
    link = await house.shares.create(ann.actor, chat, sent.reply_id)
    reader = await house.accounts.actor_of_share(link.secret)
    assert reader is not None
    await bring(bob, "own.txt", b"y" * 600_000)
    with pytest.raises(LimitReached) as told:
        await house.shares.copy(reader, bob.actor)
    assert told.value.code == "storage_mb"
    assert (await house.conversations.list(bob.actor))[0] == [], "half a copy is none"
    await house.files.delete(bob.actor, (await house.files.list(bob.actor))[0][0].id)
    assert await house.shares.copy(reader, bob.actor)
    assert (await house.files.space(bob.actor)).used_bytes == 600_000
    await close_house(house)


async def test_a_full_disk_keeps_nothing(house: House, ann: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: object) -> None:
        raise StorageFull("full")

    with monkeypatch.context() as patch:
        patch.setattr(house.blobs._store, "put", full)
        with pytest.raises(StorageFull):
            await bring(ann, "a.txt", b"words")
    assert (await house.files.space(ann.actor)).files == 0
    assert (await bring(ann, "a.txt", b"words")).size_bytes == 5


# --- in messages ----------------------------------------------------------------------------------------------------


def sent_upstream(upstream: FakeUpstream) -> list[dict[str, Any]]:
    found = [seen.json for seen in upstream.requests if seen.path.endswith("/chat/completions")]
    return next(body["messages"] for body in reversed(found) if "Write a title" not in str(body["messages"][0]))


async def test_a_model_that_sees_gets_the_picture_and_the_text(
    house: House, ann: Person, fake_upstream: FakeUpstream
) -> None:
    shot = await bring(ann, "shot.png", picture())
    notes = await bring(ann, "notes.md", "A fence:\n```\ncode\n```\nand 象".encode())
    report = await bring(ann, "report.pdf", b"%PDF-1.7 nothing")
    sent = await house.sending.send(
        ann.actor, None, None, "What is this?", "fake-n5", attachments=[shot.id, notes.id, report.id, shot.id]
    )
    await ann.ended(sent.turn_id)
    (question, _) = await house.conversations.path(ann.actor, sent.conversation_id)
    assert [type(part) for part in question.parts] == [ImagePart, FilePart, FilePart, TextPart]
    assert all(not part.url for part in question.parts if isinstance(part, ImagePart)), "messages hold no content"
    (asked,) = [one for one in sent_upstream(fake_upstream) if one["role"] == "user"]
    image, *texts = asked["content"]
    kind, _, data = image["image_url"]["url"].partition(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(data) == await content_of(ann, shot)
    text = "".join(one["text"] for one in texts)
    assert "notes.md:\n````\nA fence:\n```\ncode\n```\nand 象\n````\n" in text
    assert "[Attached file: report.pdf (application/pdf). Its content cannot be read here.]" in text
    assert text.endswith("What is this?")


async def test_a_picture_may_speak_for_itself(house: House, ann: Person) -> None:
    shot = await bring(ann, "Our garden.png", picture())
    sent = await house.sending.send(ann.actor, None, None, "  ", "fake-n5", attachments=[shot.id])
    await ann.ended(sent.turn_id)
    conversation = await house.conversations.get(ann.actor, sent.conversation_id)
    assert conversation.title
    (question, _) = await house.conversations.path(ann.actor, sent.conversation_id)
    assert [type(part) for part in question.parts] == [ImagePart]
    with pytest.raises(BadInput, match="Write something"):
        await house.sending.send(ann.actor, None, None, "  ", "fake-n5")


async def test_a_model_that_says_it_cannot_see_is_not_asked(
    house: House, ann: Person, fake_upstream: FakeUpstream
) -> None:
    shot = await bring(ann, "shot.png", picture())
    before = len(fake_upstream.requests)
    for models in ({"model": "fake-blind"}, {"models": ["fake-n5", "fake-blind"]}):
        with pytest.raises(BadInput) as told:
            await house.sending.send(ann.actor, None, None, "What?", attachments=[shot.id], **models)  # type: ignore[arg-type]
        assert (told.value.code, told.value.status) == ("model_sees_no_images", 422)
    assert len(fake_upstream.requests) == before
    assert (await house.conversations.list(ann.actor))[0] == []
    sent = await house.sending.send(ann.actor, None, None, "What?", "fake-n5", attachments=[shot.id])
    await ann.ended(sent.turn_id)
    assert sent.question_id is not None
    for again in (
        lambda: house.sending.regenerate(ann.actor, sent.reply_id, "fake-blind"),
        lambda: house.sending.edit(ann.actor, sent.question_id, "And now?", "fake-blind"),
        lambda: house.sending.ask_several(ann.actor, sent.question_id, ["fake-blind"]),
    ):
        with pytest.raises(BadInput, match="cannot see pictures"):
            await again()
    later = await house.sending.send(ann.actor, sent.conversation_id, sent.reply_id, "Go on", "fake-blind")
    await ann.ended(later.turn_id)
    assert "[Picture not shown: shot.png]" in str(sent_upstream(fake_upstream)[0]["content"])


async def test_a_text_longer_than_the_window_is_refused_before_anything_is_kept(house: House, ann: Person) -> None:
    long = await bring(ann, "long.txt", b"many words " * 40_000)
    with pytest.raises(BadInput) as told:
        await house.sending.send(ann.actor, None, None, "Read it", "fake-blind", attachments=[long.id])
    assert told.value.code == "files_too_long"
    assert (await house.conversations.list(ann.actor))[0] == []


async def test_edited_asked_again_and_forked_messages_keep_their_files(
    house: House, ann: Person, fake_upstream: FakeUpstream
) -> None:
    shot = await bring(ann, "shot.png", picture())
    sent = await house.sending.send(ann.actor, None, None, "What?", "fake-n5", attachments=[shot.id])
    await ann.ended(sent.turn_id)
    assert sent.question_id is not None
    again = await house.sending.regenerate(ann.actor, sent.reply_id)
    await ann.ended(again.turn_id)
    assert "image_url" in str(sent_upstream(fake_upstream))
    edited = await house.sending.edit(ann.actor, sent.question_id, "Where?", "fake-n5")
    await ann.ended(edited.turn_id)
    (asked,) = [one for one in sent_upstream(fake_upstream) if one["role"] == "user"]
    assert [piece["type"] for piece in asked["content"]] == ["image_url", "text"]
    forked = await house.branches.fork(ann.actor, edited.reply_id, "path")
    question = (await house.conversations.path(ann.actor, forked.id))[0]
    assert isinstance(question.parts[0], ImagePart) and question.parts[0].file_id == shot.id
    with pytest.raises(Conflict) as told:
        await house.files.delete(ann.actor, shot.id)
    assert told.value.code == "file_in_use"
    assert await examine(house.db) == []


async def test_a_message_holds_ten_files_at_most(house: House, ann: Person) -> None:
    files = [await bring(ann, f"{n}.txt", f"words {n}".encode()) for n in range(11)]
    with pytest.raises(BadInput) as told:
        await house.sending.send(ann.actor, None, None, "All", "fake-n5", attachments=[one.id for one in files])
    assert told.value.code == "too_many_files"


async def test_a_store_that_is_away_fails_the_answer_and_not_the_chat(
    house: House, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    shot = await bring(ann, "shot.png", picture())
    for path in kept_in(house):
        path.unlink()
    sent = await house.sending.send(ann.actor, None, None, "What?", "fake-n5", attachments=[shot.id])
    turn = await ann.ended(sent.turn_id)
    assert turn.state == "failed" and turn.error is not None and turn.error.code == "content_missing"
    await bring(ann, "the same.png", picture())
    again = await house.sending.regenerate(ann.actor, sent.reply_id)
    assert (await ann.ended(again.turn_id)).state == "done"


# --- taken away -----------------------------------------------------------------------------------------------------


async def test_what_was_never_sent_goes_after_a_day_and_its_content_later(house: House, ann: Person) -> None:
    waiting = await bring(ann, "waiting.txt", b"never sent")
    held = await bring(ann, "held.txt", b"held by a plugin")
    asked = await bring(ann, "asked.txt", b"sent with a question")
    plugin = house.files.of_plugin("shelf")
    await plugin.hold(ann.actor, held.id)
    sent = await house.sending.send(ann.actor, None, None, "Read", "fake-n5", attachments=[asked.id])
    await ann.ended(sent.turn_id)
    assert await house.files.collect() == 0
    assert await house.files.collect(unsent_us=-1) == 1
    with pytest.raises(NotFound):
        await house.files.get(ann.actor, waiting.id)
    assert len(kept_in(house)) == 3, "who reads it at this moment comes to the end"
    assert await house.blobs.collect() == 0
    assert await house.blobs.collect(grace_us=-1) == 1
    assert len(kept_in(house)) == 2
    assert b"".join([chunk async for chunk in plugin.read(ann.actor, held.id)]) == b"held by a plugin"
    with pytest.raises(Conflict):
        await house.files.delete(ann.actor, held.id)
    await plugin.let_go(ann.actor, held.id)
    await house.files.delete(ann.actor, held.id)


async def test_an_erased_message_takes_its_files_along_when_no_other_has_them(house: House, ann: Person) -> None:
    file = await bring(ann, "shared.txt", b"in two messages")
    chats = []
    for _ in range(2):
        sent = await house.sending.send(ann.actor, None, None, "Read", "fake-n5", attachments=[file.id])
        await ann.ended(sent.turn_id)
        chats.append(sent)
    for sent, left in zip(chats, (True, False), strict=True):
        assert sent.question_id is not None
        await house.conversations.delete_message(ann.actor, sent.question_id)
        assert await house.files.collect() == 0, "it can still be taken back"
        for row in await house.db.read(lambda tx: deletion_rows.expired_deletions(tx, now_us() + 1, 10)):
            await house.db.write(lambda tx, r=row: deletion_rows.erase_deletion(tx, r))  # type: ignore[misc]
        assert await house.files.collect() == (0 if left else 1)
    await house.blobs.collect(grace_us=-1)
    await house.blobs.collect(grace_us=-1)
    assert kept_in(house) == []
    assert await house.db.read(lambda tx: tx.all(str, "SELECT sha256 FROM blobs")) == []


async def test_content_that_is_brought_again_is_not_taken_away(house: House, ann: Person) -> None:
    """The old trap: found unused, brought in again, then deleted."""
    file = await bring(ann, "a.txt", b"comes and goes")
    await house.files.delete(ann.actor, file.id)
    await house.blobs.collect()  # marked
    again = await bring(ann, "a.txt", b"comes and goes")
    assert await house.blobs.collect(grace_us=-1) == 0
    assert await content_of(ann, again) == b"comes and goes"


async def test_content_that_is_going_is_waited_for_and_written_anew(
    house: House, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = await bring(ann, "a.txt", b"just going")
    await house.files.delete(ann.actor, file.id)
    await house.blobs.collect()
    store: Any = house.blobs._store
    is_deleting, may_delete, delete = asyncio.Event(), asyncio.Event(), store.delete

    async def slow_delete(sha256: str) -> None:
        is_deleting.set()
        await may_delete.wait()
        await delete(sha256)

    monkeypatch.setattr(store, "delete", slow_delete)
    collecting = asyncio.create_task(house.blobs.collect(grace_us=-1))
    await is_deleting.wait()
    bringing = asyncio.create_task(bring(ann, "b.txt", b"just going"))
    await asyncio.sleep(0.1)
    assert not bringing.done()
    may_delete.set()
    assert await collecting == 1
    assert await content_of(ann, await bringing) == b"just going"
    with monkeypatch.context() as patch:
        patch.setattr(blobs_module, "WAITS_S", ())
        await house.db.write(lambda tx: tx.run("UPDATE blobs SET is_going = 1"))
        with pytest.raises(Unavailable):
            await bring(ann, "c.txt", b"just going")


async def test_of_two_collectors_one_takes_it_and_who_died_is_relieved(
    house: House, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = await bring(ann, "a.txt", b"wanted by two")
    await house.files.delete(ann.actor, file.id)
    await house.blobs.collect()
    store: Any = house.blobs._store
    deletes, is_deleting, may_delete = [], asyncio.Event(), asyncio.Event()

    async def die(sha256: str) -> None:
        deletes.append(sha256)
        is_deleting.set()
        await may_delete.wait()
        raise RuntimeError("killed on purpose")

    with monkeypatch.context() as patch:
        patch.setattr(store, "delete", die)
        first = asyncio.create_task(house.blobs.collect(grace_us=-1))
        await is_deleting.wait()
        assert await house.blobs.collect(grace_us=-1) == 0, "another is at it"
        may_delete.set()
        with pytest.raises(RuntimeError):
            await first
    assert deletes == [file.sha256]
    assert await house.blobs.collect(grace_us=-1, left_us=-1) == 1
    assert kept_in(house) == []


async def test_an_upload_that_died_leaves_a_reserve_that_is_collected(
    house: House, ann: Person, tmp_path: Path
) -> None:
    left = tmp_path / "left"
    left.write_bytes(b"stored, and then the server died")
    await house.blobs.put(left)
    assert len(kept_in(house)) == 1
    assert await house.blobs.collect() == 0, "somebody may be about to name it"
    assert await house.blobs.collect(grace_us=-1) == 1
    assert kept_in(house) == []
    old = house.blobs.spool / "old"
    old.mkdir()
    os.utime(old, (1, 1))
    await house.blobs.start()
    assert not old.exists()


async def test_a_plugin_keeps_content_in_its_own_name(house: House) -> None:
    one, other = house.blobs.of_plugin("one"), house.blobs.of_plugin("other")
    sha256 = await one.put(b"the sound of a voice")
    assert b"".join([chunk async for chunk in one.read(sha256, 4, 9)]) == b"sound"
    with pytest.raises(NotFound):
        await anext(other.read(sha256))
    await other.put(b"the sound of a voice")
    await one.drop(sha256)
    await house.blobs.collect(grace_us=-1)
    assert b"".join([chunk async for chunk in other.read(sha256)]) == b"the sound of a voice"
    await other.drop(sha256)
    await house.blobs.collect(grace_us=-1)
    await house.blobs.collect(grace_us=-1)
    assert kept_in(house) == []
