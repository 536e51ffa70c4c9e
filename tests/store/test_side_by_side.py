"""The version before and this one work on the same rows of one database at the same time, on both engines.

The version before is there as what it said to the database: a whole life of it (lives.py), and every statement it has
(statements.py), both recorded from it when it was released.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import psycopg
import pytest
from chatserver_postgres.statements import encode, translate

from chatserver import __version__
from chatserver.chat.doctor import examine
from chatserver.domain.access import Actor
from chatserver.domain.extend import Migration
from chatserver.domain.messages import text_of
from chatserver.store.database import Database
from chatserver.testing.upstream import FakeUpstream
from tests.chat.conftest import Person, Place, close_house, open_house
from tests.engines import open_postgres, open_sqlite
from tests.store import lives, schemas, statements

BEFORE = sorted(path.stem.split("-")[1] for path in lives.FOLDER.glob("life-*-sqlite.jsonl"))[-1]
NEEDED = {
    "sqlite": 'SELECT name FROM pragma_table_info(:table) WHERE "notnull" = 1 AND dflt_value IS NULL AND pk = 0',
    "postgres": "SELECT column_name FROM information_schema.columns WHERE table_schema = current_schema()"
    " AND table_name = :table AND is_nullable = 'NO' AND column_default IS NULL AND is_identity = 'NO'",
}
"""The columns an INSERT has to name."""
WORDS = {"str": "", "int": 0, "float": 0.0, "bytes": b"", "NoneType": None, "bool": 0}


@pytest.fixture
def place(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> Place:
    """Where nothing is yet."""
    return tmp_path / "chat.db" if engine == "sqlite" else str(request.getfixturevalue("postgres_url"))


@pytest.fixture
async def old(place: Place) -> AsyncIterator[Database]:
    """The database as the version before made it."""
    database = await open_postgres(place) if isinstance(place, str) else open_sqlite(place)
    await database.migrate(schemas.of_engine(schemas.read(lives.FOLDER / f"schema-{BEFORE}.sql"), database.engine))
    yield database
    await database.close()


async def bring_up_to_date(database: Database) -> None:
    await database.migrate(schemas.of_engine(schemas.current(), database.engine))


def life_on(engine: str) -> tuple[lives.Head, list[lives.Line], list[lives.Line]]:
    """Its head, the first part and the later one."""
    head, lines = lives.read(lives.FOLDER / f"life-{BEFORE}-{engine}.jsonl")
    return head, [one for one in lines if one.part == "first"], [one for one in lines if one.part == "later"]


def statements_on(engine: str) -> list[statements.Statement]:
    known = statements.read(lives.FOLDER / f"statements-{BEFORE}.sql")
    return [one for one in known if one.engine in ("all", engine)]


def statement_of(function: str, word: str) -> str:
    (found,) = [one.sql for one in statements_on("sqlite") if one.function == function and word in one.sql]
    return found


def test_the_version_before_was_recorded() -> None:
    major, minor, _ = (int(part) for part in __version__.split("."))
    assert f"{major}.{max(1, minor - 1)}.0" <= BEFORE <= __version__, "see the heads of lives.py and statements.py"
    assert len(statements_on("sqlite")) > 150
    assert len(statements_on("postgres")) > 150


def misunderstood(place: Place) -> list[str]:
    """Statements of the version before that the database cannot even prepare, as `function: why`."""
    engine = "postgres" if isinstance(place, str) else "sqlite"
    found = []
    for one in statements_on(engine):
        try:
            prepare(place, one)
        except (sqlite3.Error, psycopg.Error) as error:
            found.append(f"{one.function}: {error}")
    return found


def prepare(place: Place, one: statements.Statement) -> None:
    values = {name: WORDS[kind] for name, kind in one.types}
    if isinstance(place, Path):
        with contextlib.closing(sqlite3.connect(place)) as connection:
            connection.execute(f"EXPLAIN {one.sql}", values).fetchall()
        return
    translated = translate(one.sql)
    with psycopg.connect(place, autocommit=True) as connection:
        result = connection.pgconn.prepare(b"", translated.sql, encode(translated.names, values)[1])  # type: ignore[arg-type]
        if result.status != psycopg.pq.ExecStatus.COMMAND_OK:
            raise psycopg.errors.error_from_result(result)


async def left_empty(database: Database) -> list[str]:
    """Columns the version before knows nothing of and cannot leave out, as `table.column`."""
    found = []
    written = {}
    for one in statements_on(database.engine):
        head, _, rest = one.sql.partition("(")
        if head.startswith("INSERT INTO "):
            table = head.split()[2].strip('"')
            written.setdefault(table, set()).update(name.strip() for name in rest.partition(")")[0].split(","))
    for table, names in written.items():
        sql = NEEDED[database.engine]
        needed = await database.read(lambda tx, sql=sql, table=table: tx.all(str, sql, table=table))  # type: ignore[misc]
        found += [f"{table}.{name}" for name in needed if name not in names]
    return found


async def test_every_statement_of_the_version_before_is_understood(old: Database, place: Place) -> None:
    assert misunderstood(place) == []
    await bring_up_to_date(old)
    assert misunderstood(place) == []
    assert await left_empty(old) == []


@pytest.mark.parametrize("when", ["before the tables changed", "after"])
async def test_two_versions_take_turns_in_one_conversation(
    old: Database, place: Place, fake_upstream: FakeUpstream, when: str
) -> None:
    head, first, later = life_on(old.engine)
    if when == "after":
        await bring_up_to_date(old)
    await lives.run_again(old, first)
    house = await open_house(place, fake_upstream)  # the new version: it brings its tables along
    try:
        account = await house.accounts.by_id(head.account)
        assert account is not None
        ann = Person(house, Actor(account, "web"))

        # The new version reads, finds and continues what the old one wrote.
        assert (await house.conversations.view(ann.actor, head.chat)).tip_id == head.tip
        (hit,) = await house.conversations.search(ann.actor, lives.RARE)
        assert hit.conversation_id == head.chat
        mine = await ann.ask(head.chat, "What the new one says about zephyrs.", parent=head.tip)

        # The old one reads, finds and continues that.
        path_sql = statement_of("messages.path_to", "RECURSIVE")
        path = await old.read(lambda tx: tx.all(Node, path_sql, tip=mine.reply_id, conversation=head.chat, limit=1_000))
        assert [node.id for node in path][-3:] == [head.tip, mine.question_id, mine.reply_id]
        assert "zephyrs" in path[-2].parts and path[-1].state == "done"
        swap = {head.tip: mine.reply_id}
        await lives.run_again(old, later, swap)

        # And the new one that.
        assert (await house.conversations.view(ann.actor, head.chat)).tip_id == head.later
        texts = await ann.texts(head.chat)
        assert texts[-2] == f"One more about the {lives.RARE}." and "zephyrs" in texts[-4]
        assert len(await house.conversations.search(ann.actor, lives.RARE)) == 2
        assert len(await house.conversations.search(ann.actor, "zephyrs")) == 1
        await ann.ask(head.chat, "And on.", parent=head.later)

        # While an answer runs on the one it is read and stopped from the other.
        running = await house.sending.send(ann.actor, head.chat, head.later, "At length.", "fake-n2000-gap1")
        async for _ in house.readers.follow(ann.actor, await house.readers.turn(ann.actor, str(running.turn_id)), 0):
            break
        if old.is_shared:
            stop = statement_of("turns.request_stop", "UPDATE")
            assert await old.write(lambda tx: tx.run(stop, id=running.turn_id)) == 1
        else:  # nobody else serves this file
            await house.conversations.stop(ann.actor, str(running.turn_id))
        turn = await ann.ended(running.turn_id)
        assert turn.state == "stopped"
        look = statement_of("turns.turn_of", "SELECT")
        seen = await old.read(lambda tx: tx.one(State, look, id=running.turn_id, owner=head.account))
        assert seen == State("stopped", turn.last_seq)
        events = statement_of("turns.events_after", "SELECT")
        rows = await old.read(lambda tx: tx.all(Events, events, id=running.turn_id, after=0, limit=1_000))
        assert [row.first_seq for row in rows[1:]] == [row.last_seq + 1 for row in rows[:-1]]
        assert rows[-1].last_seq == turn.last_seq
        stored = await house.conversations.message(ann.actor, running.reply_id)
        assert text_of(stored.parts)
        assert await examine(house.db) == []
    finally:
        await close_house(house)


class Node(msgspec.Struct):
    id: str
    state: str
    parts: str


class State(msgspec.Struct):
    state: str
    last_seq: int


class Events(msgspec.Struct):
    first_seq: int
    last_seq: int


@pytest.mark.parametrize("engine", ["postgres"])
async def test_a_column_without_a_default_is_noticed(old: Database, engine: str) -> None:
    """On SQLite such a column cannot be added in the first place."""
    bad = Migration("0001_bad", ("ALTER TABLE messages ADD COLUMN mood TEXT NOT NULL",))
    await old.migrate([("bad", [bad])])
    assert await left_empty(old) == ["messages.mood"]
    with pytest.raises(psycopg.errors.NotNullViolation):
        await lives.run_again(old, life_on("postgres")[1])


async def test_a_column_that_went_away_is_noticed(old: Database, place: Place) -> None:
    bad = Migration("0001_bad", ("ALTER TABLE messages DROP COLUMN continues",))
    await old.migrate([("bad", [bad])])
    assert any("messages.insert_message" in one for one in misunderstood(place))
    with pytest.raises((sqlite3.Error, psycopg.Error)):
        await lives.run_again(old, life_on(old.engine)[1])
