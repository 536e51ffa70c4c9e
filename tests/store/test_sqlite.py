"""The SQLite engine under the faults it promises to survive: kill, full disk, a second server, damage."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatserver.domain.extend import Migration
from chatserver.errors import SetupError, StorageFull, Unavailable
from chatserver.store.database import Tx
from chatserver.store.disk import Reserve, network_filesystem
from chatserver.store.lock import hold_lock
from chatserver.store.sqlite import SqliteDatabase
from chatserver.store.writer import RETRY_FULL_S

VICTIM = Path(__file__).with_name("victim.py")
NOTES = Migration("0001_notes", ("CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT NOT NULL)",))
SETS = [("notes", [NOTES])]


@pytest.fixture
def engine() -> str:
    return "sqlite"


@pytest.fixture
async def notes(database: SqliteDatabase) -> SqliteDatabase:
    await database.migrate(SETS)
    return database


def add(tx: Tx, body: str = "a note") -> int:
    return tx.run("INSERT INTO notes (body) VALUES (:body)", body=body)


def count(tx: Tx) -> int:
    return tx.one(int, "SELECT COUNT(*) FROM notes") or 0


@contextlib.contextmanager
def victim(task: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen([sys.executable, str(VICTIM), task, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


async def test_kill_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    for turn in range(3):
        path = tmp_path / f"{turn}.db"
        with victim("write", path) as child:
            assert child.stdout is not None
            lines = [child.stdout.readline() for _ in range(chance.randrange(50, 400))]
            child.send_signal(signal.SIGKILL)
            lines += child.stdout.readlines()
        acknowledged = {int(line) for line in lines if line.endswith("\n")}
        assert len(acknowledged) >= 50
        with hold_lock(path):
            database = SqliteDatabase.open(path)
            stored = await database.read(lambda tx: tx.all(int, "SELECT n FROM numbers"))
            await database.close()
        assert acknowledged <= set(stored)


async def test_fifty_writers_are_never_told_locked(notes: SqliteDatabase) -> None:
    async def work() -> None:
        for _ in range(20):
            await notes.write(add)

    await asyncio.gather(*(work() for _ in range(50)))
    assert await notes.read(count) == 1000


async def test_writes_beside_another_process_wait_their_turn(notes: SqliteDatabase) -> None:
    other = sqlite3.connect(notes.path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    writing = asyncio.ensure_future(notes.write(add))
    for _ in range(3):
        assert await notes.read(count) == 0
    assert not writing.done()
    other.execute("COMMIT")
    assert await writing == 1
    other.close()


async def test_queued_units_share_a_commit(notes: SqliteDatabase) -> None:
    may_go_on = threading.Event()
    blocking = asyncio.ensure_future(notes.write(lambda tx: may_go_on.wait(20)))
    commits: list[str] = []
    connection = notes._lanes[-1].connection
    connection.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
    rest = [asyncio.ensure_future(notes.write(add)) for _ in range(100)]
    await asyncio.to_thread(may_go_on.set)
    await asyncio.gather(blocking, *rest)
    connection.set_trace_callback(None)
    assert len(commits) <= 3


async def test_a_commit_that_fails_rejects_every_unit_of_its_batch(notes: SqliteDatabase) -> None:
    await notes.write(lambda tx: None)
    refuse = {sqlite3.SQLITE_TRANSACTION}
    connection = notes._lanes[-1].connection

    def deny_commit(action: int, first: str | None, *rest: str | None) -> int:
        return sqlite3.SQLITE_DENY if action in refuse and first == "COMMIT" else sqlite3.SQLITE_OK

    may_go_on = threading.Event()
    blocking = asyncio.ensure_future(notes.write(lambda tx: may_go_on.wait(20)))
    units = [asyncio.ensure_future(notes.write(add)) for _ in range(5)]
    connection.set_authorizer(deny_commit)
    await asyncio.to_thread(may_go_on.set)
    results = await asyncio.gather(blocking, *units, return_exceptions=True)
    assert all(isinstance(result, sqlite3.Error) for result in results)
    connection.set_authorizer(None)
    assert await notes.read(count) == 0
    assert await notes.write(add) == 1


async def test_a_deferred_rule_rejects_only_who_broke_it(database: SqliteDatabase) -> None:
    deferred = Migration(
        "0001_deferred",
        (
            "CREATE TABLE parents (id INTEGER PRIMARY KEY)",
            "CREATE TABLE children (id INTEGER REFERENCES parents(id) DEFERRABLE INITIALLY DEFERRED)",
        ),
    )
    await database.migrate([("deferred", [deferred])])
    may_go_on = threading.Event()
    blocking = asyncio.ensure_future(database.write(lambda tx: may_go_on.wait(20)))
    good = asyncio.ensure_future(database.write(lambda tx: tx.run("INSERT INTO parents VALUES (1)")))
    bad = asyncio.ensure_future(database.write(lambda tx: tx.run("INSERT INTO children VALUES (2)")))
    await asyncio.to_thread(may_go_on.set)
    results = await asyncio.gather(blocking, good, bad, return_exceptions=True)
    assert results[:2] == [True, 1]
    assert isinstance(results[2], sqlite3.IntegrityError)


async def test_strange_things_raised_in_a_unit_reach_the_caller(notes: SqliteDatabase) -> None:
    def stop(tx: Tx) -> None:
        raise StopIteration

    def leave(tx: Tx) -> None:
        raise asyncio.CancelledError

    for function in (stop, leave):
        with pytest.raises((RuntimeError, asyncio.CancelledError)):
            await notes.write(function)
        with pytest.raises((RuntimeError, asyncio.CancelledError)):
            await notes.read(function)
    assert await notes.write(add) == 1


async def test_a_full_disk_refuses_writes_keeps_essential_ones_and_recovers(small_disk: Path, caplog) -> None:
    """On a real filesystem of 8 MB, with a reserve of 2 MB."""
    database = SqliteDatabase.open(small_disk / "chat.db", reserve_bytes=2_000_000)
    await database.migrate(SETS)
    fill = small_disk / "somebody_elses_file"
    await database.write(add)
    with fill.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    stored = await database.read(count)
    with pytest.raises(StorageFull) as refusal:
        await write_until_refused(database)
    assert refusal.value.status == 507
    with pytest.raises(StorageFull):
        await database.write(add)
    kept = await database.read(count)
    assert kept >= stored
    assert await database.write(lambda tx: add(tx, "signed in"), essential=True) == 1
    assert await database.write(lambda tx: tx.run("DELETE FROM notes WHERE id = 1"), essential=True) == 1
    assert len(caplog.records) <= 2
    fill.unlink()
    async with asyncio.timeout(10 * RETRY_FULL_S):
        while True:
            with contextlib.suppress(StorageFull):
                await database.write(add)
                break
    assert await database.read(count) == kept + 1
    await database.close()
    checked = sqlite3.connect(small_disk / "chat.db")
    assert checked.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    checked.close()


async def write_until_refused(database: SqliteDatabase) -> None:
    for _ in range(500):
        await database.write(lambda tx: add(tx, "x" * 20_000))


async def test_a_batch_that_fills_the_disk_gives_essential_units_a_second_chance(database: SqliteDatabase) -> None:
    """A limit on the file that the essential unit alone stays under."""
    await database.migrate(SETS)
    connection = database._lanes[-1].connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count={pages + 4}")
    may_go_on = threading.Event()
    blocking = asyncio.ensure_future(database.write(lambda tx: may_go_on.wait(20), essential=True))
    big = asyncio.ensure_future(database.write(lambda tx: add(tx, "x" * 100_000)))
    small = asyncio.ensure_future(database.write(add))
    essential = asyncio.ensure_future(database.write(add, essential=True))
    await asyncio.to_thread(may_go_on.set)
    results = await asyncio.gather(blocking, big, small, essential, return_exceptions=True)
    assert results[0] is True
    assert isinstance(results[1], StorageFull)
    assert results[3] == 1
    assert not database._reserve.path.exists()
    connection.execute("PRAGMA max_page_count=1000000")
    async with asyncio.timeout(10 * RETRY_FULL_S):
        while True:
            with contextlib.suppress(StorageFull):
                await database.write(add)
                break
    assert database._reserve.path.stat().st_size == 1_000_000


async def test_an_error_of_the_disk_is_unavailable_and_passes(notes: SqliteDatabase) -> None:
    def fail(tx: Tx) -> None:
        add(tx)
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = 4874  # SQLITE_IOERR_SHMSIZE: some extended code of SQLITE_IOERR
        raise error

    with pytest.raises(Unavailable):
        await notes.write(fail)
    with pytest.raises(Unavailable):
        await notes.read(fail_read)
    assert await notes.read(count) == 0
    assert await notes.write(add) == 1
    assert await notes.read(count) == 1


def fail_read(tx: Tx) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR
    raise error


def test_a_second_server_is_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    with hold_lock(path), pytest.raises(SetupError, match=rf"chat\.db is in use by process {os.getpid()}"):
        hold_lock(path)
    hold_lock(path).release()


def test_the_lock_of_a_killed_server_is_free(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    with victim("write", path) as child:
        assert child.stdout is not None
        assert child.stdout.readline()
        with pytest.raises(SetupError, match=f"process {child.pid}"):
            hold_lock(path)
    hold_lock(path).release()


async def test_a_clean_end_leaves_one_file_that_only_we_may_read(tmp_path: Path) -> None:
    path = tmp_path / "data" / "chat.db"
    database = SqliteDatabase.open(path)
    await database.migrate(SETS)
    await asyncio.gather(*(database.write(add) for _ in range(20)))
    for name in ("chat.db", "chat.db-wal", "chat.db-shm", "chat.db.reserve"):
        assert stat.S_IMODE(path.with_name(name).stat().st_mode) == 0o600
    assert path.with_name("chat.db.reserve").stat().st_blocks * 512 >= 16 * 1024 * 1024
    await database.close()
    assert [file.name for file in path.parent.iterdir()] == ["chat.db"]


async def test_close_finishes_what_was_queued(notes: SqliteDatabase) -> None:
    writes = [asyncio.ensure_future(notes.write(add)) for _ in range(50)]
    await asyncio.to_thread(lambda: None)
    await notes.close()
    assert await asyncio.gather(*writes) == [1] * 50


async def test_damage_found_after_an_unclean_end_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    database = SqliteDatabase.open(path)
    await database.migrate(SETS)
    for _ in range(200):
        await database.write(lambda tx: add(tx, "x" * 1000))
    await database.close()
    with path.open("r+b") as file:
        file.seek(4096 * 4)
        file.write(os.urandom(4096 * 20))
    SqliteDatabase.open(path)._end()  # a clean end is trusted
    path.with_name("chat.db-wal").write_bytes(bytes(32))
    with pytest.raises(SetupError, match=r"chat\.db is damaged.*backups"):
        SqliteDatabase.open(path)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    path.write_text("this is a diary, not a database\n" * 100)
    with pytest.raises(SetupError, match=r"chat\.db cannot be opened: file is not a database"):
        SqliteDatabase.open(path)
    with pytest.raises(SetupError, match="cannot be opened"):
        SqliteDatabase.open(path / "chat.db")


async def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE recipes (id INTEGER)")
    other.close()
    database = SqliteDatabase.open(path)
    with pytest.raises(SetupError, match=r"another program's database .*recipes"):
        await database.migrate(SETS)
    await database.close()


async def test_an_existing_database_is_copied_before_it_is_migrated(notes: SqliteDatabase) -> None:
    backups = notes.path.parent / "backups"
    assert not backups.exists()
    await notes.write(add)
    more = Migration("0002_more", ("ALTER TABLE notes ADD COLUMN more TEXT",))
    assert await notes.plan([("notes", [NOTES, more])]) == ["notes/0002_more"]
    await notes.migrate([("notes", [NOTES, more])])
    assert await notes.plan([("notes", [NOTES, more])]) == []
    assert [file.name for file in backups.iterdir()] == ["chat-before-notes-0002_more.db"]
    copy = SqliteDatabase.open(backups / "chat-before-notes-0002_more.db")
    assert await copy.read(count) == 1
    assert await copy.migrate(SETS) == []
    await copy.close()


async def test_a_backup_under_load_is_one_moment(notes: SqliteDatabase, tmp_path: Path) -> None:
    pair = ("INSERT INTO notes (body) VALUES ('left')", "INSERT INTO notes (body) VALUES ('right')")
    is_over = False

    async def load() -> None:
        while not is_over:
            await notes.write(lambda tx: [tx.run(sql) for sql in pair])

    loading = asyncio.ensure_future(load())
    for number in range(3):
        await notes.backup(tmp_path / "copies" / f"{number}.db")
    is_over = True
    await loading
    for number in range(3):
        copy = SqliteDatabase.open(tmp_path / "copies" / f"{number}.db")
        assert await copy.read(count) % 2 == 0
        await copy.close()
    assert len(list((tmp_path / "copies").iterdir())) == 3


async def test_a_command_beside_the_server_leaves_the_reserve(notes: SqliteDatabase) -> None:
    beside = SqliteDatabase.open(notes.path, readers=1, alone=False)
    assert await beside.write(add) == 1
    await beside.close()
    assert notes._reserve.path.exists()
    assert await notes.read(count) == 1


async def test_many_loops_may_use_one_database(notes: SqliteDatabase) -> None:
    async def work() -> int:
        return sum(await asyncio.gather(*(notes.write(add) for _ in range(20))))

    sums = await asyncio.gather(*(asyncio.to_thread(asyncio.run, work()) for _ in range(3)), work())
    assert sums == [20] * 4


def test_a_reserve_that_finds_no_room_holds_none(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "missing" / "reserve", 1000)
    assert not reserve.hold()
    assert Reserve(tmp_path / "reserve", 0).hold()
    assert list(tmp_path.iterdir()) == []


def test_network_filesystems_are_known_by_their_mount(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "22 1 254:0 / / rw - ext4 /dev/vda rw\n"
        f"40 22 0:50 / {tmp_path} rw shared:1 - nfs4 server:/data rw\n"
        f"41 40 0:51 / {tmp_path}/local\\040disk rw - xfs /dev/vdb rw\n"
    )
    assert network_filesystem(tmp_path / "data", mounts) == "nfs4"
    assert network_filesystem(tmp_path / "local disk" / "data", mounts) == ""
    assert network_filesystem(Path("/etc"), mounts) == ""
    assert network_filesystem(Path("/etc"), tmp_path / "nothing") == ""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 8 MB; mounting one takes root."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small disk is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_the_connections_are_as_promised(notes: SqliteDatabase) -> None:
    promised = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000, "trusted_schema": 0}
    promised["query_only"] = 0
    for lane in notes._lanes:
        values = {
            pragma: lane.connection.execute(f"PRAGMA {pragma}").fetchone()[0]
            for pragma in (
                "journal_mode",
                "synchronous",
                "foreign_keys",
                "busy_timeout",
                "trusted_schema",
                "query_only",
            )
        }
        assert values == {
            "journal_mode": "wal",
            "synchronous": 2,
            "foreign_keys": 1,
            "busy_timeout": 5000,
            "trusted_schema": 0,
            "query_only": int(lane.reads_only),
        }
    assert len(notes._lanes) == 5
