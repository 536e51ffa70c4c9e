"""Backups: made under load, told from damaged ones, put back whole or not at all, wherever the power goes."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chatserver.chat.backups import inspect, make_backup, restore
from chatserver.domain.extend import Migration
from chatserver.errors import SetupError, StorageFull
from chatserver.house import migration_sets
from chatserver.plugins import Plugins
from chatserver.store import accounts as account_rows
from chatserver.store import search
from chatserver.store.backups import DatabaseFile
from chatserver.store.lock import hold_lock
from chatserver.store.schema import CORE
from chatserver.store.sqlite import SqliteDatabase, copy_database
from chatserver.testing.upstream import FakeUpstream
from tests.chat.conftest import Person
from tests.running import RunningServer

SETS = [("core", CORE), ("search", search.migrations("sqlite"))]


@pytest.fixture
def engine() -> str:
    return "sqlite"


LATER = Migration("9999_later", ("CREATE TABLE later (id TEXT PRIMARY KEY)",))


def write_fact(tx: Any, name: str, value: str) -> None:
    tx.run(
        "INSERT INTO facts (name, value) VALUES (:name, :value)"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        name=name,
        value=value,
    )


def facts_of(path: Path) -> dict[str, str]:
    """Read without leaving anything beside the file."""
    connection = sqlite3.connect(path)
    try:
        return dict(connection.execute("SELECT name, value FROM facts"))
    finally:
        connection.close()


def names_in(folder: Path) -> set[str]:
    return {one.name for one in folder.iterdir()}


async def make_database(path: Path, **facts: str) -> Path:
    db = SqliteDatabase.open(path, reserve_bytes=0)
    await db.migrate(SETS)
    for name, value in facts.items():
        await db.write(lambda tx, n=name, v=value: write_fact(tx, n, v))  # type: ignore[misc]
    await db.close()
    return path


async def test_a_backup_of_a_busy_house_is_one_moment(ann: Person, tmp_path: Path) -> None:
    chat = await ann.start()
    first = await ann.ask(chat, "one")
    stopped = asyncio.Event()

    async def write_pairs() -> int:
        count = 0
        while not stopped.is_set():
            count += 1

            def both(tx: Any, value: str = str(count)) -> None:
                write_fact(tx, "left", value)
                write_fact(tx, "right", value)

            await ann.house.db.write(both)
        return count

    writing = [asyncio.create_task(write_pairs()) for _ in range(4)]
    running = await ann.house.sending.send(ann.actor, chat, first.reply_id, "two", "fake-n2000-gap1")
    for number in range(3):
        target = tmp_path / f"{number}.backup"
        await asyncio.to_thread(make_backup, ann.house.db.path, target, "1.2.3")  # type: ignore[attr-defined]
        found = await inspect(target, migration_sets("sqlite", Plugins.load(found=[])), is_live=False)
        assert found.problems == ()
        assert found.manifest is not None and found.manifest.version == "1.2.3"
        facts = facts_of(target)
        assert facts["left"] == facts["right"]
    stopped.set()
    assert sum(await asyncio.gather(*writing)) > 0
    await ann.house.conversations.stop(ann.actor, running.turn_id or "")
    await ann.ended(running.turn_id)
    assert {name for name in names_in(tmp_path) if ".backup" in name} == {"0.backup", "1.backup", "2.backup"}


async def test_a_live_database_is_verified_beside_its_server(ann: Person) -> None:
    await ann.ask(await ann.start(), "one")
    path = ann.house.db.path  # type: ignore[attr-defined]
    assert (await inspect(path, SETS, is_live=True)).problems == ()
    await ann.house.db.write(lambda tx: tx.run("UPDATE conversations SET tip_id = 'nowhere'"))
    (problem,) = (await inspect(path, SETS, is_live=True)).problems
    assert "opens at a message that is not there" in problem


async def test_restoring_brings_back_what_was_and_keeps_what_is(tmp_path: Path) -> None:
    path = await make_database(tmp_path / "chat.db", colour="green")
    make_backup(path, tmp_path / "green.backup", "1")
    await make_database(path, colour="red")
    done = await restore(tmp_path / "green.backup", path, SETS)
    assert facts_of(path) == {"colour": "green"}
    assert done.kept is not None and facts_of(done.kept) == {"colour": "red"}
    assert names_in(tmp_path) == {"chat.db", "backups", "green.backup"}
    again = await inspect(path, SETS, is_live=True)
    assert again.problems == () and again.manifest is None
    assert DatabaseFile(path, is_still=True).manifest() is None, "the manifest stays in the backup"


async def test_restoring_where_nothing_was(tmp_path: Path) -> None:
    path = await make_database(tmp_path / "chat.db", colour="green")
    make_backup(path, tmp_path / "green.backup", "1")
    done = await restore(tmp_path / "green.backup", tmp_path / "new" / "chat.db", SETS)
    assert done.kept is None
    assert facts_of(tmp_path / "new" / "chat.db") == {"colour": "green"}


async def test_a_database_too_damaged_to_open_is_kept_as_it_is(tmp_path: Path) -> None:
    path = await make_database(tmp_path / "chat.db", colour="green")
    make_backup(path, tmp_path / "green.backup", "1")
    path.write_bytes(b"this was a database once")
    path.with_name("chat.db-wal").write_bytes(b"and this its log")
    done = await restore(tmp_path / "green.backup", path, SETS)
    assert facts_of(path) == {"colour": "green"}
    assert done.kept is not None and done.kept.read_bytes() == b"this was a database once"
    assert done.kept.with_name(done.kept.name + "-wal").read_bytes() == b"and this its log"


async def test_the_copy_made_before_a_migration_restores(tmp_path: Path) -> None:
    path = await make_database(tmp_path / "chat.db", colour="green")
    db = SqliteDatabase.open(path, reserve_bytes=0)
    await db.migrate([("core", [*CORE, LATER]), SETS[1]])
    await db.close()
    with pytest.raises(SetupError, match="newer"):
        await inspect(path, SETS, is_live=True)
    (copy,) = (tmp_path / "backups").iterdir()
    await restore(copy, path, SETS)
    assert facts_of(path) == {"colour": "green"}
    assert (await inspect(path, SETS, is_live=True)).problems == ()


async def test_an_older_schema_restores_and_says_what_is_to_run(tmp_path: Path) -> None:
    path = await make_database(tmp_path / "chat.db", colour="green")
    make_backup(path, tmp_path / "old.backup", "1")
    sets = [("core", [*CORE, LATER]), SETS[1]]
    assert (await inspect(tmp_path / "old.backup", sets, is_live=False)).waiting == ("core/9999_later",)
    assert (await restore(tmp_path / "old.backup", path, sets)).found.waiting == ("core/9999_later",)


async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    newer = await make_database(tmp_path / "newer.db", colour="red")
    db = SqliteDatabase.open(newer, reserve_bytes=0)
    await db.migrate([("core", [*CORE, LATER]), SETS[1]])
    await db.close()
    make_backup(newer, tmp_path / "newer.backup", "2")
    path = await make_database(tmp_path / "chat.db", colour="green")
    with pytest.raises(SetupError, match="newer than this version"):
        await restore(tmp_path / "newer.backup", path, SETS)
    assert facts_of(path) == {"colour": "green"}


async def test_what_is_no_backup_is_refused(tmp_path: Path) -> None:
    path = await make_database(tmp_path / "chat.db", colour="green")
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE songs (id)")
    connection.close()
    text = tmp_path / "text"
    text.write_text("hello " * 1000)
    for source, words in ((other, "another program's"), (text, "not a database"), (tmp_path / "x", "no file")):
        with pytest.raises(SetupError, match=words):
            await restore(source, path, SETS)
    with pytest.raises(SetupError, match="the database itself"):
        make_backup(path, path, "1")
    db = SqliteDatabase.open(path, reserve_bytes=0)
    await db.write(lambda tx: write_fact(tx, "colour", "blue"))
    with pytest.raises(SetupError, match="not a backup of one"):
        await restore(path, tmp_path / "elsewhere.db", SETS)
    await db.close()
    assert facts_of(path) == {"colour": "blue"}


async def test_changed_bytes_are_noticed(tmp_path: Path) -> None:
    path = await make_database(tmp_path / "chat.db", colour="green", shape="a long round shape")
    make_backup(path, tmp_path / "good.backup", "1")
    good = (tmp_path / "good.backup").read_bytes()
    bad = tmp_path / "bad.backup"
    bad.write_bytes(good.replace(b"a long round shape", b"a long ROUND shape"))
    (problem,) = (await inspect(bad, SETS, is_live=False)).problems
    assert problem == "the rows of the table facts are not those that were stored"
    with pytest.raises(SetupError, match="damaged"):
        await restore(bad, path, SETS)
    # Anything short, or cut anywhere, is seen as well.
    for size in (0, 100, 4096, len(good) // 2, len(good) - 1):
        bad.write_bytes(good[:size])
        with pytest.raises(SetupError):
            await restore(bad, path, SETS)
    assert facts_of(path)["colour"] == "green"
    connection = sqlite3.connect(tmp_path / "good.backup")
    connection.execute("DELETE FROM facts WHERE name = 'colour'")
    connection.commit()
    connection.close()
    (problem,) = (await inspect(tmp_path / "good.backup", SETS, is_live=False)).problems
    assert problem == "the table facts has 1 rows instead of 2"


async def test_a_full_disk_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = await make_database(tmp_path / "chat.db", colour="green")
    make_backup(path, tmp_path / "a.backup", "1")

    def no_room(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", no_room)
    with pytest.raises(StorageFull, match="no room"):
        await restore(tmp_path / "a.backup", path, SETS)
    assert facts_of(path) == {"colour": "green"}
    assert names_in(tmp_path) == {"chat.db", "a.backup"}


async def test_restore_waits_for_nobody_who_has_the_database_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatserver.store.backups.BUSY_TIMEOUT_MS", 50)
    path = await make_database(tmp_path / "chat.db", colour="green")
    make_backup(path, tmp_path / "a.backup", "1")
    db = SqliteDatabase.open(path, alone=False)
    await db.write(lambda tx: write_fact(tx, "colour", "red"))
    with pytest.raises(SetupError, match="Another chatserver command"):
        await restore(tmp_path / "a.backup", path, SETS)
    await db.close()
    assert facts_of(path) == {"colour": "red"}


@pytest.mark.timeout(180)
async def test_killed_at_a_step_the_old_or_the_new_database_is_whole(tmp_path: Path) -> None:
    await kill_at_steps(tmp_path, [1, 4, 8, 12, 15, 18, 20, 22, 24])


@pytest.mark.torture
async def test_killed_at_every_step_the_old_or_the_new_database_is_whole(tmp_path: Path) -> None:
    await kill_at_steps(tmp_path, list(range(1, 26)))


async def kill_at_steps(tmp_path: Path, steps: list[int]) -> None:
    source = await make_database(tmp_path / "source.db", colour="green")
    make_backup(source, tmp_path / "green.backup", "1")
    # Left open and killed, as a server would leave it: the newest row is in the log only.
    await make_database(tmp_path / "0" / "chat.db", colour="red")
    command = [sys.executable, "-c", _LEAVES_A_LOG, str(tmp_path / "0" / "chat.db")]
    assert (await asyncio.to_thread(subprocess.run, command)).returncode == -signal.SIGKILL

    async def kill_at(step: int) -> tuple[int, str]:
        path = tmp_path / f"{step}" / "chat.db"
        shutil.copytree(tmp_path / "0", path.parent)
        command = [sys.executable, "-m", "tests.chat.restorer", str(tmp_path / "green.backup"), str(path), str(step)]
        child = await asyncio.to_thread(subprocess.run, command, capture_output=True, timeout=50)
        assert child.returncode in (0, -signal.SIGKILL), child.stderr
        hold_lock(path).release()
        db = SqliteDatabase.open(path, reserve_bytes=0)
        colour = await db.read(lambda tx: tx.one(str, "SELECT value FROM facts WHERE name = 'colour'"))
        assert await db.read(account_rows.list_accounts) == []
        await db.close()
        assert colour is not None
        if child.returncode:
            await restore(tmp_path / "green.backup", path, SETS)
            assert facts_of(path) == {"colour": "green"}
            kept = [facts_of(one)["colour"] for one in (path.parent / "backups").glob("*.db")]
            assert "dark red" in kept
        return child.returncode, colour

    seen = set(await asyncio.gather(*(kill_at(step) for step in (*steps, 1000))))
    assert {(-signal.SIGKILL, "dark red"), (0, "green")} <= seen


_LEAVES_A_LOG = """
import asyncio, os, signal, sys
from pathlib import Path
from chatserver.store.sqlite import SqliteDatabase, copy_database

async def main():
    db = SqliteDatabase.open(Path(sys.argv[1]), reserve_bytes=0)
    await db.write(lambda tx: tx.run("UPDATE facts SET value = 'dark red'"))
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def run(server: RunningServer, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        server.command(*words), env=server.environment, capture_output=True, text=True, timeout=60, stdin=-3
    )


@pytest.mark.timeout(180)
def test_the_commands_beside_and_without_a_server(tmp_path: Path, fake_upstream: FakeUpstream) -> None:
    server = RunningServer(tmp_path / "house", fake_upstream.base_url).start()
    try:
        server.run("account", "create", "--email", "ann@example.org")
        file = tmp_path / "house.backup"
        assert "rows of" in server.run("backup", str(file))
        assert server.run("verify").strip().endswith("is sound.")
        server.run("account", "create", "--email", "bob@example.org")
        refused = run(server, "restore", str(file))
        assert refused.returncode == 1 and "is in use by process" in refused.stderr
        secrets = [one for one in tmp_path.rglob("*key*") if one.is_file()]
        assert secrets
        for secret in secrets:
            assert secret.read_bytes().strip() not in file.read_bytes()
    finally:
        assert server.stop() == 0
    assert "is kept, until you delete it" in server.run("restore", str(file))
    assert "no account with the address bob@" in run(server, "key", "create", "--account", "bob@example.org").stderr
    assert server.run("key", "create", "--account", "ann@example.org").startswith("cs_")
    assert "is sound: " in server.run("verify", str(file))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE) as reader:
        server.run("export", "--out", str(pipe))
        assert b"chatserver" in reader.communicate()[0]
    file.write_bytes(file.read_bytes()[:-5000])
    for words in (("verify", str(file)), ("restore", str(file)), ("backup", str(tmp_path)), ("backup", str(pipe))):
        refused = run(server, *words)
        assert refused.returncode == 1 and len(refused.stderr.splitlines()) == 1, refused.stderr
    assert pipe.is_fifo()


@pytest.mark.torture
def test_killed_at_random_while_a_large_backup_is_put_back(tmp_path: Path) -> None:
    source = asyncio.run(make_database(tmp_path / "source.db", colour="green", filler="x" * 50_000_000))
    make_backup(source, tmp_path / "green.backup", "1")
    server = RunningServer(tmp_path / "house", "")
    server.run("migrate")
    path = next(server.data.glob("*.sqlite"))
    for turn in range(20):
        child = subprocess.Popen(server.command("restore", str(tmp_path / "green.backup")), env=server.environment)
        try:
            child.wait(0.2 + 0.1 * turn)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        assert asyncio.run(inspect(path, SETS, is_live=True)).problems == ()
        assert facts_of(path).get("colour") in (None, "green")


async def test_a_disk_that_fills_while_the_copy_is_made_is_left_as_it_was(tmp_path: Path) -> None:
    """SQLite leaves its journal behind when the disk is full."""
    path = await make_database(tmp_path / "chat.db", colour="green")
    target = tmp_path / "out" / "a.backup"

    def full(copy: sqlite3.Connection) -> None:
        Path(f"{target}.part-journal").write_bytes(b"begun")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StorageFull, match="no room"):
        copy_database(path, target, full)
    assert names_in(target.parent) == set()

    def forbidden(copy: sqlite3.Connection) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    with pytest.raises(PermissionError):
        copy_database(path, target, forbidden)
