"""A house copied into another database and back: equal, whatever it holds and wherever the copying was cut off."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import chatserver_password
import pytest

from chatserver.chat import copying
from chatserver.chat.copying import copy_house
from chatserver.chat.doctor import examine
from chatserver.domain.access import Actor
from chatserver.domain.extend import Migration
from chatserver.errors import SetupError
from chatserver.hookspecs import hookimpl
from chatserver.house import migration_sets
from chatserver.plugins import Plugins
from chatserver.store import search, tables
from chatserver.store.database import Database, Tx
from chatserver.store.sqlite import SqliteDatabase
from chatserver.testing.postgres import PostgresServer
from chatserver.testing.upstream import FakeUpstream
from tests.chat.conftest import Person, close_house, open_house
from tests.engines import open_postgres
from tests.running import RunningServer

R = TypeVar("R")


class Zoo:
    """A plugin with whatever tables may hold: no key, a key of two, bytes, references ahead, a count that went on."""

    @hookimpl
    def register_migrations(self) -> list[Migration]:
        return [
            Migration(
                "0001_first",
                (
                    "CREATE TABLE zoo_beasts (id TEXT PRIMARY KEY, mother_id TEXT REFERENCES zoo_beasts(id),"
                    " picture {bytes}, weight DOUBLE PRECISION)",
                    "CREATE TABLE zoo_visits (seq {identity}, note TEXT)",
                    "CREATE TABLE zoo_feedings (day BIGINT NOT NULL, beast_id TEXT NOT NULL REFERENCES zoo_beasts(id),"
                    ' "order" INTEGER, PRIMARY KEY (beast_id, day))',
                    "CREATE TABLE zoo_gone (id TEXT PRIMARY KEY)",
                    "CREATE TABLE zoo_odd (c1 BIGINT PRIMARY KEY, c0 TEXT, t TEXT)",
                ),
            ),
            Migration(
                "0002_later",
                (
                    "ALTER TABLE zoo_visits ADD COLUMN at BIGINT",
                    "DROP TABLE zoo_gone",
                    "CREATE TABLE zoo_signs (text TEXT)",
                    "ALTER TABLE zoo_signs RENAME TO zoo_boards",
                ),
            ),
            # worked out from the rest, where one engine can: in no copy, and in nobody's way
            Migration("0003_near", ("CREATE TABLE zoo_near (place vector)",), engine="postgres", extension="vector"),
        ]


PLUGINS: list[tuple[str, object]] = [("password", chatserver_password), ("zoo", Zoo())]


def sets_of(engine: str) -> list[tuple[str, list[Migration]]]:
    return migration_sets(engine, Plugins.load(found=[], extra=PLUGINS))


def fill_zoo(tx: Tx) -> None:
    for number in range(30):
        tx.run(
            "INSERT INTO zoo_beasts (id, picture, weight) VALUES (:id, :picture, :weight)",
            id=f"b{number:02}",
            picture=bytes([number, 0, 255]) if number % 2 else None,
            weight=number / 3,
        )
        # each one's mother comes later in the order of the ids
        tx.run("UPDATE zoo_beasts SET mother_id = :m WHERE id = :id", m=f"b{number:02}", id=f"b{number - 1:02}")
        tx.run("INSERT INTO zoo_visits (note, at) VALUES (:note, :at)", note=f"naïve 象 {number}", at=number << 40)
        sql = 'INSERT INTO zoo_feedings (beast_id, day, "order") VALUES (:beast, :day, 1)'
        tx.run(sql, beast=f"b{number:02}", day=number % 7)
        tx.run("INSERT INTO zoo_odd (c1, c0, t) VALUES (:n, :m, 't')", n=number, m=f"{9 - number % 10}")
        tx.run("INSERT INTO zoo_boards (text) VALUES (:text)", text=f"sign {number % 4}")
    tx.run("DELETE FROM zoo_visits WHERE seq > 20")


@pytest.fixture
def places(tmp_path: Path, postgres_server: PostgresServer) -> Any:
    made: list[str] = []

    async def open_one(kind: str, name: str = "") -> Database:
        if kind == "sqlite":
            return SqliteDatabase.open(tmp_path / f"{name or len(made)}.db", reserve_bytes=1_000_000)
        made.append(name or postgres_server.create())
        return await open_postgres(postgres_server.url(made[-1]))

    yield open_one
    for name in set(made):
        postgres_server.drop(name)


@pytest.fixture
async def filled(tmp_path: Path, fake_upstream: FakeUpstream) -> AsyncIterator[SqliteDatabase]:
    """A house that was lived in, closed and opened again."""
    house = await open_house(tmp_path / "filled.db", fake_upstream, plugins=PLUGINS)
    for email in ("ann@example.org", "bob@example.org"):
        person = Person(house, Actor(await house.accounts.create(email, secret="correct horse battery"), "web"))
        for number in range(3):
            chat = await person.start(f"The chat {number} about 象")
            first = await person.ask(chat, "the first question")
            second = await person.ask(chat, "a second one", parent=first.reply_id)
            await house.sending.edit(person.actor, second.question_id, "edited", "fake-n5")
            await house.sending.regenerate(person.actor, second.reply_id, "fake-n5")
        await house.conversations.delete_message(person.actor, second.question_id)
    await house.db.write(fill_zoo)
    await close_house(house)
    db = SqliteDatabase.open(tmp_path / "filled.db", reserve_bytes=1_000_000)
    yield db
    await db.close()


async def everything(db: Database) -> dict[str, tables.Tally]:
    named = tables.tables_of(sets_of(db.engine))
    described = [await db.read(lambda tx, one=one: tables.describe(tx, one)) for one in named]  # type: ignore[misc]
    found = {}
    for table in described:
        counted = 0
        if table.numbered:
            counted = await db.read(lambda tx, one=table: tables.last_number(tx, one))  # type: ignore[misc]
        found[table.name] = await copying._tally(db, table, counted)
    return found


async def hits(db: Database, query: str) -> list[str]:
    def look(tx: Tx) -> list[str]:
        owner = tx.one(str, "SELECT id FROM accounts WHERE email = 'ann@example.org'") or ""
        return [hit.message_id or hit.conversation_id for hit in search.find(tx, owner_id=owner, query=query)]

    return await db.read(look)


@pytest.mark.parametrize("kinds", [("postgres", "sqlite"), ("sqlite", "postgres")])
async def test_there_and_back_is_equal(filled: SqliteDatabase, places: Any, kinds: tuple[str, str]) -> None:
    before = await everything(filled)
    assert before["zoo_beasts"].rows == 30 and before["messages"].rows > 20 and before["password_credentials"].rows == 2
    assert "zoo_boards" in before and not {"zoo_gone", "zoo_near"} & set(before)
    source: Database = filled
    opened = []
    for kind in kinds:
        target = await places(kind)
        opened.append(target)
        copied = await copy_house(source, target, sets_of)
        assert copied.left == ()
        assert await everything(target) == before == copied.tables
        assert await examine(target) == []
        for query in ("象", "question", "edited"):
            found = await hits(target, query)
            assert found and found == await hits(filled, query)
        assert await target.plan(sets_of(target.engine)) == []
        source = target
    for target in opened:
        seq = await target.write(
            lambda tx: (
                tx.run("INSERT INTO zoo_visits (note) VALUES ('next')")
                and tx.one(int, "SELECT MAX(seq) FROM zoo_visits")
            )
        )
        assert seq == 31, "a number that was given out is not given out again"
        await target.close()


class Cut(Exception):
    pass


class CutOff:
    """A database whose writes stop after some, before or after the commit."""

    def __init__(self, db: Database, left: int, *, after: bool) -> None:
        self._db = db
        self._left = left
        self._after = after
        self.engine = db.engine
        self.is_shared = db.is_shared
        self.read, self.plan, self.migrate = db.read, db.plan, db.migrate

    async def write(self, function: Callable[[Tx], R], *, essential: bool = False) -> R:
        self._left -= 1
        if self._left < 0 and not self._after:
            raise Cut
        value = await self._db.write(function)
        if self._left < 0:
            raise Cut
        return value


@pytest.mark.parametrize("kind", ["postgres", "sqlite"])
async def test_it_goes_on_where_it_was_cut_off(
    filled: SqliteDatabase, places: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "PAGE", 7)
    before = await everything(filled)
    target = await places(kind)
    cuts = 0
    while True:
        cut: Any = CutOff(target, 3 + cuts % 4, after=cuts % 2 == 1)
        try:
            await copy_house(filled, cut, sets_of, resumes=True)
            break
        except Cut:
            cuts += 1
        except SetupError as error:  # cut off between the very last commit and the news of it
            assert "not empty" in error.message
            break
        if cuts == 3:
            with pytest.raises(SetupError, match="--resume"):
                await target.plan(sets_of(kind))  # what serve, doctor and all the others ask first
            with pytest.raises(SetupError, match="not finished. Go on with --resume"):
                await copy_house(filled, target, sets_of)
    assert cuts > 5
    assert await everything(target) == before
    assert await examine(target) == []
    assert await hits(target, "question") == await hits(filled, "question")
    await target.close()


async def test_what_is_not_fit_is_refused(filled: SqliteDatabase, places: Any) -> None:
    target = await places("sqlite", "target")
    await copy_house(filled, target, sets_of)
    with pytest.raises(SetupError, match="not empty"):
        await copy_house(filled, target, sets_of)
    foreign = await places("sqlite", "foreign")
    await foreign.write(lambda tx: tx.run("CREATE TABLE theirs (id TEXT)"))
    with pytest.raises(SetupError, match="another program's"):
        await copy_house(filled, foreign, sets_of)
    less = Plugins.load(found=[], extra=[])
    part = await places("sqlite", "part")
    copied = await copy_house(filled, part, lambda engine: migration_sets(engine, less))
    assert copied.left == ("password", "zoo")
    with pytest.raises(SetupError, match="run `chatserver migrate`"):
        await copy_house(part, await places("sqlite", "other"), sets_of)
    await target.close()
    await foreign.close()
    await part.close()


async def test_two_copies_at_once_do_not_mix(filled: SqliteDatabase, places: Any) -> None:
    target = await places("postgres")
    both = [copy_house(filled, target, sets_of, resumes=True) for _ in range(2)]
    outcomes = await asyncio.gather(*both, return_exceptions=True)
    refused = [one for one in outcomes if isinstance(one, SetupError)]
    assert len(refused) == len([one for one in outcomes if isinstance(one, BaseException)]) <= 2
    if len(refused) == 2:  # each was in the other's way
        await copy_house(filled, target, sets_of, resumes=True)
    assert await everything(target) == await everything(filled)
    await target.close()


async def test_a_source_that_was_written_to_meanwhile_is_noticed(filled: SqliteDatabase, places: Any) -> None:
    target = await places("sqlite", "target")

    def write(sentence: str) -> None:
        if sentence.startswith("turns"):
            with contextlib.closing(sqlite3.connect(filled.path)) as connection:
                connection.execute("UPDATE accounts SET name = 'Somebody else' WHERE email = 'ann@example.org'")
                connection.commit()

    with pytest.raises(SetupError, match="accounts differs"):
        await copy_house(filled, target, sets_of, tell=write)
    with pytest.raises(SetupError, match="not finished"):
        await target.plan(sets_of("sqlite"))
    await target.close()


@pytest.mark.timeout(180)
async def test_the_command_moves_a_box_to_postgres_and_back(
    tmp_path: Path, fake_upstream: FakeUpstream, postgres_url: str
) -> None:
    box = RunningServer(tmp_path / "box", fake_upstream.base_url)
    await asyncio.to_thread(box.account, "ann@example.org")
    await asyncio.to_thread(box.start)
    with pytest.raises(AssertionError, match="is in use by process"):
        await asyncio.to_thread(box.run, "copy", "--to", postgres_url)
    await asyncio.to_thread(box.stop)
    await asyncio.to_thread(kill_at, box, "conversations: copied", "copy", "--to", postgres_url)
    with pytest.raises(AssertionError, match="not finished. Go on with"):
        await asyncio.to_thread(box.run, "copy", "--to", postgres_url)
    said = await asyncio.to_thread(box.run, "copy", "--to", postgres_url, "--resume")
    assert "equal on both sides" in said
    with pytest.raises(AssertionError, match="is the database itself"):
        await asyncio.to_thread(box.run, "copy", "--to", f"sqlite://{box.data}")
    secret = box.config.with_suffix(".key").read_text().strip()
    environment = {"CHATSERVER_DATABASE_URL": postgres_url, "CHATSERVER_SECRET_KEY": secret}
    cloud = RunningServer(tmp_path / "cloud", fake_upstream.base_url, environment=environment)
    assert "all is well" in await asyncio.to_thread(cloud.run, "doctor")
    back = tmp_path / "back"
    said = await asyncio.to_thread(cloud.run, "copy", "--to", f"sqlite://{back}")
    assert "stop every node first" in said
    home = RunningServer(tmp_path / "home", fake_upstream.base_url)
    home.environment["CHATSERVER_DATA"] = str(back)
    assert "all is well" in await asyncio.to_thread(home.run, "doctor")
    assert "is sound" in await asyncio.to_thread(home.run, "verify")
    await asyncio.to_thread(home.start)
    await asyncio.to_thread(home.stop)


def kill_at(server: RunningServer, line: str, *words: str) -> None:
    """Run a command until it says something; then kill -9."""
    with subprocess.Popen(server.command(*words), env=server.environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for said in process.stdout:
            if said.strip() == line:
                process.kill()
                break
    assert process.returncode == -signal.SIGKILL
