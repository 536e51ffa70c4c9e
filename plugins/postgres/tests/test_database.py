"""The PostgreSQL engine beside others and under faults: collisions, a server that restarts, migrations at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import psycopg
import pytest
from chatserver_postgres.crew import PATIENCE_S
from chatserver_postgres.database import PostgresDatabase

from chatserver import Migration, SetupError, Tx, Unavailable, clock
from chatserver.testing.postgres import PostgresServer

TILL = Migration("0001_till", ("CREATE TABLE till (id TEXT PRIMARY KEY, coins INTEGER NOT NULL, note TEXT)",))
SETS = [("till", [TILL])]


@pytest.fixture
async def till(database: PostgresDatabase) -> PostgresDatabase:
    await database.migrate(SETS)

    def fill(tx: Tx) -> None:
        for name in "ab":
            tx.run("INSERT INTO till (id, coins) VALUES (:id, 100)", id=name)

    await database.write(fill)
    return database


def coins(tx: Tx) -> int | None:
    return tx.one(int, "SELECT SUM(coins) FROM till")


async def test_a_deadlock_is_undone_and_done_again(till: PostgresDatabase, postgres_url: str) -> None:
    """Of two nodes: units of one share a thread, so none may block it."""
    neighbour = await PostgresDatabase.open(postgres_url)
    meeting = threading.Barrier(2)
    tries: list[str] = []

    def move(first: str, second: str) -> Any:
        def run(tx: Tx) -> None:
            tries.append(first)
            tx.run("UPDATE till SET coins = coins - 1 WHERE id = :id", id=first)
            if len(tries) <= 2:
                meeting.wait(10)
            tx.run("UPDATE till SET coins = coins + 1 WHERE id = :id", id=second)

        return run

    try:
        await asyncio.gather(till.write(move("a", "b")), neighbour.write(move("b", "a")))
    finally:
        await neighbour.close()
    assert len(tries) == 3
    assert await till.read(lambda tx: tx.all(int, "SELECT coins FROM till ORDER BY id")) == [100, 100]


class Kinds(msgspec.Struct):
    whole: int
    part: float
    yes: bool
    flag: int
    large: int


async def test_values_come_as_they_do_from_the_other_engine(till: PostgresDatabase) -> None:
    sql = (
        "SELECT SUM(coins) AS whole, AVG(coins) / 8 AS part, SUM(coins) = 200 AS yes, 1 > 2 AS flag,"
        " CAST(:large AS BIGINT) AS large FROM till"
    )
    assert await till.read(lambda tx: tx.one(Kinds, sql, large=2**62)) == Kinds(200, 12.5, True, 0, 2**62)
    assert await till.read(coins) == 200
    assert await till.read(lambda tx: tx.one(int, "SELECT COUNT(*) FROM till WHERE coins > :n", n=2**40)) == 0
    await till.write(lambda tx: tx.run("UPDATE till SET note = :note, coins = :n", note="a\0b", n=2**40))
    assert await till.read(lambda tx: tx.one(str, "SELECT note FROM till LIMIT 1")) == "a\ufffdb"
    assert await till.read(coins) == 2**41


async def test_a_statement_outlives_its_plan(till: PostgresDatabase) -> None:
    """A table changed by a newer node under prepared statements of ours."""
    for _ in range(10):
        assert await till.read(lambda tx: len(tx.all(str, "SELECT * FROM till"))) == 2
    await till.write(lambda tx: tx.run("ALTER TABLE till ADD COLUMN extra TEXT"))
    for _ in range(10):
        assert await till.read(lambda tx: len(tx.all(str, "SELECT * FROM till"))) == 2


async def test_of_many_nodes_that_migrate_at_once_one_does(postgres_url: str) -> None:
    nodes = [await PostgresDatabase.open(postgres_url, connections=3) for _ in range(6)]
    try:
        ran = await asyncio.gather(*(node.migrate(SETS) for node in nodes))
        assert sorted(ran) == [[]] * 5 + [["till/0001_till"]]
    finally:
        for node in nodes:
            await node.close()


async def test_another_programs_database_is_refused(database: PostgresDatabase) -> None:
    await database.write(lambda tx: tx.run("CREATE TABLE wp_posts (id BIGINT)"))
    with pytest.raises(SetupError, match="another program's database"):
        await database.migrate(SETS)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://ann:hush@localhost:1/chat", "does not let us in to chat on localhost"),
        ("postgresql://ann:hush@/nothing?host={folder}", "does not let us in to nothing on"),
        ("postgresql://ann:hush@localhost:notaport/x", "let us in|cannot be read"),
        ("postgresql://?hush=1", "cannot be read"),
    ],
)
async def test_who_cannot_get_in_is_told_without_the_password(
    postgres_server: PostgresServer, url: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatserver_postgres.database.PATIENCE_S", 0.3)
    with pytest.raises(SetupError, match=says) as refused:
        await PostgresDatabase.open(url.format(folder=postgres_server.folder))
    assert "hush" not in refused.value.message.replace("hush=1", "")


async def test_a_session_that_was_ended_is_replaced(till: PostgresDatabase, postgres_url: str) -> None:
    async def end_all() -> None:
        def end() -> None:
            with psycopg.connect(postgres_url, autocommit=True) as other:
                other.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )

        await asyncio.to_thread(end)

    await asyncio.gather(*(till.read(coins) for _ in range(20)), *(till.write(coins) for _ in range(20)))
    await end_all()
    assert await asyncio.gather(*(till.read(coins) for _ in range(20))) == [200] * 20
    await end_all()
    assert await asyncio.gather(*(till.write(coins) for _ in range(20))) == [200] * 20


async def test_a_holder_of_locks_who_froze_lets_go_of_them(till: PostgresDatabase, postgres_url: str) -> None:
    """As a node that is stopped in mid-transaction; the server waits ten seconds, here less."""
    from chatserver_postgres.lane import WRITER_SETUP

    assert b"idle_in_transaction_session_timeout = '10s'" in WRITER_SETUP
    frozen = await asyncio.to_thread(psycopg.connect, postgres_url)
    try:
        await asyncio.to_thread(frozen.execute, "SET idle_in_transaction_session_timeout = '300ms'")
        await asyncio.to_thread(frozen.execute, "UPDATE till SET coins = 0")
        await till.write(lambda tx: tx.run("UPDATE till SET coins = coins + 1"))
        assert await till.read(coins) == 202
    finally:
        await asyncio.to_thread(frozen.close)


async def test_what_is_essential_goes_before_what_waits(postgres_url: str) -> None:
    """The text of answers is not to wait behind a crowd of questions."""
    db = await PostgresDatabase.open(postgres_url, connections=2)  # one of them writes
    try:
        await db.migrate(SETS)
        may_go_on, order = threading.Event(), []
        blocking = asyncio.ensure_future(db.write(lambda tx: may_go_on.wait(20)))
        waiting = [asyncio.ensure_future(db.write(lambda tx, n=n: order.append(n))) for n in range(20)]  # type: ignore[misc]
        urgent = asyncio.ensure_future(db.write(lambda tx: order.append(-1), essential=True))
        await asyncio.sleep(0)
        may_go_on.set()
        await asyncio.gather(blocking, urgent, *waiting)
        assert order[0] == -1 and sorted(order) == list(range(-1, 20))
    finally:
        await db.close()


async def test_fewer_connections_than_wanted_hold_nobody_up(
    postgres_server: PostgresServer, postgres_url: str, till: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waited for a lane that cannot be had was refused after that time."""
    monkeypatch.setattr("chatserver_postgres.crew.PATIENCE_S", 0.5)
    postgres_server.execute("CREATE ROLE few LOGIN CONNECTION LIMIT 3")
    with psycopg.connect(postgres_url, autocommit=True) as owner:
        owner.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO few")
        db = await PostgresDatabase.open(postgres_url.replace("://postgres@", "://few@"))
        try:
            add = "UPDATE till SET coins = coins + 1 WHERE id = 'a'"
            await asyncio.gather(*(db.write(lambda tx: tx.run(add)) for _ in range(200)))
            assert await till.read(coins) == 400
        finally:
            await db.close()
            owner.execute("DROP OWNED BY few")
            owner.execute("DROP ROLE few")


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    server = PostgresServer().start()
    yield server
    server.remove()


async def test_a_server_that_restarts_is_waited_for_and_no_connection_is_poisoned(own_server: PostgresServer) -> None:
    db = await PostgresDatabase.open(own_server.url(own_server.create()))
    try:
        await db.migrate(SETS)
        acknowledged: list[str] = []
        refusals: list[float] = []
        is_over = False

        insert = "INSERT INTO till (id, coins) VALUES (:id, 1) ON CONFLICT (id) DO NOTHING"

        async def work(name: str) -> None:
            number = 0
            while not is_over:
                one = f"{name}-{number}"
                try:
                    await db.write(lambda tx, one=one: tx.run(insert, id=one))  # type: ignore[misc]
                except Unavailable as error:
                    assert error.status == 503 and error.retry_after_s
                    refusals.append(clock.monotonic_s())
                    await asyncio.sleep(0.05)
                else:
                    acknowledged.append(one)
                    number += 1

        working = [asyncio.create_task(work(f"w{number}")) for number in range(20)]

        async def go_on() -> None:
            wanted = len(acknowledged) + 200
            async with asyncio.timeout(15):
                while len(acknowledged) < wanted:
                    done, _ = await asyncio.wait(working, timeout=0.02)
                    for task in done:
                        task.result()

        await go_on()
        for mode in ("immediate", "fast"):
            await asyncio.to_thread(own_server.stop, mode)
            await asyncio.to_thread(own_server.start)
            await go_on()
            # Those whose commit was under way cannot know; all others waited.
            assert len(refusals) <= 2 * 20
        is_over = True
        await asyncio.gather(*working)
        stored = set(await db.read(lambda tx: tx.all(str, "SELECT id FROM till")))
        assert set(acknowledged) <= stored
        await asyncio.to_thread(own_server.stop, "immediate")
        began = clock.monotonic_s()
        with pytest.raises(Unavailable):
            await db.read(coins)
        assert PATIENCE_S - 0.5 < clock.monotonic_s() - began < 4 * PATIENCE_S
        await asyncio.to_thread(own_server.start)
        assert await db.read(coins) == len(stored)
    finally:
        await db.close()


async def test_a_server_that_is_frozen_is_told_from_a_busy_one(
    own_server: PostgresServer, many_files: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatserver_postgres.crew.PATIENCE_S", 1.5)
    monkeypatch.setattr("chatserver_postgres.watch.SILENT_S", 0.5)
    monkeypatch.setattr("chatserver_postgres.watch.ANSWER_S", 3.0)
    db = await PostgresDatabase.open(own_server.url(own_server.create()))
    try:
        await db.migrate(SETS)
        slow = asyncio.create_task(db.read(lambda tx: tx.one(str, "SELECT CAST(pg_sleep(3) AS TEXT)")))
        assert await slow == "", "longer than anybody waits for a server that is away"
        await asyncio.gather(*(db.read(coins) for _ in range(8)), *(db.write(coins) for _ in range(20)))
        own_server.pause()
        began = clock.monotonic_s()
        insert = "INSERT INTO till (id, coins) VALUES (:id, 1)"
        asked = [asyncio.create_task(db.read(coins)) for _ in range(30)]
        asked += [asyncio.create_task(db.write(lambda tx, n=n: tx.run(insert, id=str(n)))) for n in range(30)]  # type: ignore[misc]
        done, waiting = await asyncio.wait(asked, timeout=30)
        took_s = clock.monotonic_s() - began
        assert not waiting
        assert {type(task.exception()) for task in done} == {Unavailable}
        print(f"all were told after {took_s:.1f} s")
        with pytest.raises(Unavailable):
            await db.read(coins)
        own_server.go_on()
        async with asyncio.timeout(20):
            while True:
                try:
                    stored = await db.read(lambda tx: tx.all(int, "SELECT CAST(id AS INTEGER) FROM till"))
                    break
                except Unavailable:
                    continue
        # A commit that was under way may have happened; what was still queued must not begin any more.
        assert len(stored) <= 8
        assert await db.write(lambda tx: tx.run(insert, id="after")) == 1
        own_server.pause()
        asked = [asyncio.create_task(db.read(coins)) for _ in range(30)]
        await asyncio.sleep(0)
    finally:
        await db.close()  # a frozen server keeps nobody from leaving
        own_server.go_on()
    assert {type(error) for error in await asyncio.gather(*asked, return_exceptions=True)} == {Unavailable}


NEAR = Migration("0002_near", ("CREATE TABLE till_near (place vector)",), engine="postgres", extension="vector")
LATER = Migration("0003_later", ("CREATE TABLE till_later (id TEXT PRIMARY KEY)",))
WITH_NEAR = [("till", [TILL, NEAR, LATER])]


async def test_what_wants_an_extension_waits_until_it_is_to_be_had(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    postgres_server.execute("CREATE ROLE plain LOGIN")
    with psycopg.connect(postgres_url, autocommit=True) as owner:
        owner.execute("GRANT ALL ON SCHEMA public TO plain")
        plain = await PostgresDatabase.open(postgres_url.replace("://postgres@", "://plain@"))
        try:
            assert await plain.migrate(WITH_NEAR) == ["till/0001_till", "till/0003_later"]
            assert await plain.plan(WITH_NEAR) == []
            owner.execute("CREATE EXTENSION vector")
            assert await plain.plan(WITH_NEAR) == ["till/0002_near"]
            assert await plain.migrate(WITH_NEAR) == ["till/0002_near"]
            assert await plain.migrate(WITH_NEAR) == []
        finally:
            await plain.close()
            owner.execute("DROP OWNED BY plain CASCADE")
            owner.execute("DROP ROLE plain")
