"""What files hold goes along: enclosed in backups, checked against the rows that name it, moved between stores."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import chatserver_s3
import pytest

from chatserver.chat.backups import check_backup, inspect, make_backup, restore
from chatserver.chat.contents import copy_contents, put_back, reader_of, remove_strays, take_stock
from chatserver.chat.shared_backups import back_up_shared
from chatserver.clock import new_id
from chatserver.domain.extend import BlobStore
from chatserver.domain.files import BlobEntry
from chatserver.errors import SetupError, Unavailable
from chatserver.house import House, migration_sets
from chatserver.plugins import Plugins
from chatserver.store import blobs as blob_rows
from chatserver.store.folder import FolderStore
from chatserver.testing.blobs import names, put
from chatserver.testing.s3 import S3Server
from tests.chat.conftest import Person

WORDS = [b"the first words", b"the second words", b"x" * 9_000_000]


def sets_of(engine: str) -> Any:
    return migration_sets(engine, Plugins.load(found=[]))


@pytest.fixture
def store(house: House) -> FolderStore:
    kept: Any = house.blobs._store
    return kept


@pytest.fixture
async def filled(house: House, ann: Person) -> House:
    """A house with three files, one of them in a message, and content of a plugin."""
    for number, words in enumerate(WORDS):
        path = house.blobs.spool / f"{number}"
        path.write_bytes(words)
        file = await house.files.bring_in(ann.actor, f"{number}.txt", path)
        path.unlink()
    sent = await house.sending.send(ann.actor, None, None, "Read", "fake-n5", attachments=[file.id])
    await ann.ended(sent.turn_id)
    await house.blobs.of_plugin("voices").put(b"a voice")
    return house


def left_in(folder: Path) -> list[Path]:
    return [one for one in folder.iterdir() if "half" in one.name]


async def back_up(house: House, target: Path, store: BlobStore | None) -> None:
    read = reader_of(store) if store is not None else None
    if house.db.engine == "sqlite":
        await asyncio.to_thread(make_backup, house.db.path, target, "1", read)  # type: ignore[attr-defined]
    else:
        await back_up_shared(house.db, target, sets_of, "1", read)


async def test_a_backup_encloses_what_files_hold(filled: House, store: FolderStore, tmp_path: Path) -> None:
    target = tmp_path / "whole.backup"
    await back_up(filled, target, store)
    found = await inspect(target, sets_of("sqlite"), is_live=False)
    assert found.problems == ()
    assert found.manifest is not None and found.manifest.enclosed is not None
    assert (found.manifest.enclosed.contents, found.manifest.enclosed.missing) == (4, ())
    fresh = FolderStore(tmp_path / "fresh")
    assert await put_back(target, fresh) == 4
    assert await names(fresh) == await names(store)
    assert await put_back(target, fresh) == 4, "again is once"
    await restore(target, tmp_path / "restored.sqlite", sets_of("sqlite"))
    assert target.stat().st_size > 9_000_000 > (tmp_path / "restored.sqlite").stat().st_size
    with sqlite3.connect(tmp_path / "restored.sqlite") as restored:
        assert restored.execute("SELECT COUNT(*) FROM files").fetchone() == (3,)
        tables = {row[0] for row in restored.execute("SELECT name FROM sqlite_master")}
    restored.close()
    assert not {name for name in tables if name.startswith("backup_")}


async def test_a_backup_may_leave_it_out(filled: House, tmp_path: Path) -> None:
    target = tmp_path / "without.backup"
    await back_up(filled, target, None)
    found = check_backup(target, sets_of("sqlite"))
    assert found.manifest is not None and found.manifest.enclosed is None
    assert await put_back(target, FolderStore(tmp_path / "fresh")) == 0


async def test_a_damaged_content_is_found_and_the_backup_refused(
    filled: House, store: FolderStore, tmp_path: Path
) -> None:
    target = tmp_path / "damaged.backup"
    await back_up(filled, target, store)
    with sqlite3.connect(target) as opened:
        opened.execute(
            "UPDATE backup_contents SET body = CAST('other' AS BLOB) WHERE number = 0 AND length(body) < 100"
        )
    opened.close()
    assert any(
        "is not what was stored" in one for one in (await inspect(target, sets_of("sqlite"), is_live=False)).problems
    )
    with pytest.raises(SetupError, match="is not what was stored"):
        check_backup(target, sets_of("sqlite"))
    with sqlite3.connect(target) as opened:
        opened.execute("DELETE FROM backup_contents")
    opened.close()
    with pytest.raises(SetupError, match="is not in it"):
        check_backup(target, sets_of("sqlite"))


async def test_a_store_that_breaks_leaves_no_half_backup(filled: House, tmp_path: Path) -> None:
    class Away:
        async def read(self, sha256: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
            raise Unavailable("away")
            yield b""  # type: ignore[unreachable]

    with pytest.raises(Unavailable):
        await back_up(filled, tmp_path / "half.backup", Away())  # type: ignore[arg-type]
    assert left_in(tmp_path) == []


async def test_what_is_missing_damaged_or_left_over_is_told(
    filled: House, store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = await take_stock(filled.db, store, reads_all=True)
    assert (sound.contents, sound.findings, sound.strays) == (4, [], {})
    gone, short, changed, _ = sorted(path for path in store.folder.rglob("*") if path.is_file())
    gone.unlink()
    short.write_bytes(b"")
    changed.write_bytes(b"?" * changed.stat().st_size)
    stray = await put(store, b"from another life of this database")
    measured = await take_stock(filled.db, store, reads_all=False)
    assert {(one.kind, one.subject) for one in measured.findings} == {
        ("content_missing", gone.name),
        ("content_damaged", short.name),
    }
    assert measured.strays == {}, "it may belong to an upload that is under way"
    monkeypatch.setattr("chatserver.chat.contents.STRAY_US", -3_600_000_000)
    read = await take_stock(filled.db, store, reads_all=True)
    assert {one.subject for one in read.findings} == {gone.name, short.name, changed.name}
    assert list(read.strays) == [stray]
    await remove_strays(filled.db, store, read)
    assert await store.size_of(stray) is None
    short.unlink()
    changed.unlink()
    elsewhere = FolderStore(tmp_path / "elsewhere")
    with pytest.raises(SetupError, match="3 of 4 contents of files are not in the store"):
        await copy_contents(filled.db, store, elsewhere)
    assert len(await names(elsewhere)) == 1, "what is there was copied"


class Busy(FolderStore):
    """A store to which content comes while it is being listed."""

    late = ""

    async def list(self) -> AsyncIterator[BlobEntry]:
        async for entry in super().list():
            if entry.sha256 != self.late:
                yield entry


async def test_what_came_while_one_was_counting_is_not_missing(filled: House, store: FolderStore) -> None:
    busy = Busy(store.folder)
    busy.late = (await names(store))[0]
    stock = await take_stock(filled.db, busy, reads_all=False)
    assert (stock.contents, stock.findings) == (4, [])


async def test_a_stray_that_is_brought_meanwhile_stays(
    filled: House, ann: Person, store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever takes strays away says so before: content brought in that moment waits, and is there afterwards."""
    stray = await put(store, b"from another life")
    monkeypatch.setattr("chatserver.chat.contents.STRAY_US", -3_600_000_000)
    stock = await take_stock(filled.db, store, reads_all=False)
    is_deleting, may_delete, delete = asyncio.Event(), asyncio.Event(), store.delete

    async def slow_delete(sha256: str) -> None:
        is_deleting.set()
        await may_delete.wait()
        await delete(sha256)

    monkeypatch.setattr(store, "delete", slow_delete)
    removing = asyncio.create_task(remove_strays(filled.db, store, stock))
    await is_deleting.wait()
    path = filled.blobs.spool / "again"
    path.write_bytes(b"from another life")
    reserve, asked = blob_rows.reserve, asyncio.Event()
    loop = asyncio.get_running_loop()

    def ask(*words: Any) -> Any:
        loop.call_soon_threadsafe(asked.set)
        return reserve(*words)

    monkeypatch.setattr(blob_rows, "reserve", ask)
    bringing = asyncio.create_task(filled.files.bring_in(ann.actor, "again.txt", path))
    await asked.wait()
    may_delete.set()
    await removing
    await bringing
    assert await store.size_of(stray) == len(b"from another life")
    assert (await take_stock(filled.db, store, reads_all=True)).findings == []
    await remove_strays(filled.db, store, stock)
    assert await store.size_of(stray) is not None, "a row knows it by now"


async def test_a_backup_says_what_was_missing(filled: House, store: FolderStore, tmp_path: Path) -> None:
    gone = next(path for path in sorted(store.folder.rglob("*")) if path.is_file())
    gone.unlink()
    target = tmp_path / "partial.backup"
    await back_up(filled, target, store)
    found = check_backup(target, sets_of("sqlite"))
    assert found.manifest is not None and found.manifest.enclosed is not None
    assert found.manifest.enclosed.missing == (gone.name,)
    assert await put_back(target, FolderStore(tmp_path / "fresh")) == 3


class Counting:
    """A store that counts what is written into it, and breaks off after some."""

    def __init__(self, store: BlobStore, breaks_after: int) -> None:
        self._store = store
        self._left = breaks_after
        self.written: list[str] = []
        self.read, self.size_of, self.delete, self.list = store.read, store.size_of, store.delete, store.list

    async def put(self, sha256: str, size_bytes: int, chunks: AsyncIterator[bytes]) -> None:
        if not self._left:
            raise Unavailable("cut off")
        self._left -= 1

        async def noticed() -> AsyncIterator[bytes]:
            self.written.append(sha256)
            async for chunk in chunks:
                yield chunk

        await self._store.put(sha256, size_bytes, noticed())


async def test_contents_move_to_a_bucket_and_back_and_none_is_copied_twice(
    filled: House, store: FolderStore, tmp_path: Path, s3_server: S3Server
) -> None:
    bucket = await chatserver_s3.open_bucket(
        f"s3://{s3_server.create(f'moves-{new_id()}')}/files",
        {"endpoint": s3_server.endpoint, "region": "us-east-1", "path_style": True},
        {"access_key_id": "test", "secret_access_key": "test"}.get,
    )
    cut: Any = Counting(bucket, 2)
    with pytest.raises(Unavailable):
        await copy_contents(filled.db, store, cut)
    whole: Any = Counting(bucket, -1)
    assert await copy_contents(filled.db, store, whole) == 4
    assert sorted(cut.written + whole.written) == await names(store), "each was written once"
    assert (await take_stock(filled.db, bucket, reads_all=True)).findings == []
    back = FolderStore(tmp_path / "back")
    assert await copy_contents(filled.db, bucket, back) == 4
    assert await names(back) == await names(store)
