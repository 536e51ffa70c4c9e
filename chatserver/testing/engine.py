"""The contract of a storage engine, as tests: subclass `EngineContract`, bring a `database` fixture, pass.

class TestMyEngine(EngineContract):
    @pytest.fixture
    async def database(self):
        database = ...          # open and empty: no table, no migration
        yield database
        await database.close()
"""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import pytest

from chatserver.domain.extend import Migration
from chatserver.errors import SetupError, Unavailable

if TYPE_CHECKING:
    from chatserver.store.database import Database, Tx

PATIENCE_S = 20.0
THINGS = Migration(
    "0001_things",
    (
        "CREATE TABLE things (id TEXT PRIMARY KEY, count BIGINT NOT NULL, is_new INTEGER NOT NULL, note TEXT,"
        " settings TEXT NOT NULL DEFAULT '{}')",
        "CREATE TABLE pieces (seq {identity}, thing_id TEXT NOT NULL REFERENCES things(id), body {bytes})",
    ),
)
BROKEN = Migration("0002_broken", ("CREATE TABLE halves (id TEXT PRIMARY KEY)", "CREATE TABLE things (id TEXT)"))


class Thing(msgspec.Struct, frozen=True):
    id: str
    count: int
    is_new: bool
    note: str | None


class Piece(msgspec.Struct, frozen=True):
    seq: int
    thing_id: str
    body: bytes | None


SELECT = "SELECT id, count, is_new, note FROM things ORDER BY id"


def add_thing(tx: Tx, thing_id: str, count: int = 0, is_new: int = 0, note: str | None = None) -> int:
    return tx.run(
        "INSERT INTO things (id, count, is_new, note) VALUES (:id, :count, :is_new, :note)",
        id=thing_id,
        count=count,
        is_new=is_new,
        note=note,
    )


def ids(tx: Tx) -> list[str]:
    return tx.all(str, "SELECT id FROM things ORDER BY id")


class TwoLooks:
    """A unit that looks twice, and waits in between until it may end."""

    def __init__(self) -> None:
        self.has_begun, self.may_end = threading.Event(), threading.Event()

    def __call__(self, tx: Tx) -> tuple[list[str], list[str]]:
        first = ids(tx)
        self.has_begun.set()
        assert self.may_end.wait(PATIENCE_S)
        return first, ids(tx)


class EngineContract:
    """What `Database` promises, whatever stands behind it."""

    @pytest.fixture
    async def things(self, database: Database) -> Database:
        await database.migrate([("contract", [THINGS])])
        return database

    async def test_what_was_written_is_read_back_as_values(self, things: Database) -> None:
        note = "naïve 你好 🎉 'quoted' \"twice\" :name %s"

        def fill(tx: Tx) -> str:
            assert add_thing(tx, "a", count=2**53 + 1, is_new=1, note=note) == 1
            assert add_thing(tx, "b", count=-(2**62)) == 1
            return "done"

        assert await things.write(fill) == "done"
        rows = await things.read(lambda tx: tx.all(Thing, SELECT))
        assert rows == [Thing("a", 2**53 + 1, True, note), Thing("b", -(2**62), False, None)]
        assert rows[0].is_new is True

    async def test_one_gives_the_first_row_or_none(self, things: Database) -> None:
        await things.write(lambda tx: add_thing(tx, "a"))
        assert await things.read(lambda tx: tx.one(Thing, SELECT)) == Thing("a", 0, False, None)
        sql = "SELECT id FROM things WHERE id = :id"
        assert await things.read(lambda tx: tx.one(str, sql, id="a")) == "a"
        assert await things.read(lambda tx: tx.one(str, sql, id="b")) is None
        assert await things.read(lambda tx: tx.all(str, sql, id="b")) == []

    async def test_scalars_come_from_the_first_column(self, things: Database) -> None:
        await things.write(lambda tx: add_thing(tx, "a", count=7))
        assert await things.read(lambda tx: tx.one(int, "SELECT COUNT(*) FROM things")) == 1
        assert await things.read(lambda tx: tx.all(int, "SELECT count, id FROM things")) == [7]
        assert await things.read(lambda tx: tx.one(bool, "SELECT is_new FROM things")) is False
        assert await things.read(lambda tx: tx.one(int, "SELECT MAX(count) FROM things WHERE id = 'z'")) is None

    async def test_a_row_without_a_wanted_column_is_an_error(self, things: Database) -> None:
        with pytest.raises(Exception, match="note"):
            await things.read(lambda tx: tx.all(Thing, "SELECT id, count, is_new FROM things"))

    async def test_run_tells_how_many_rows_changed(self, things: Database) -> None:
        await things.write(lambda tx: [add_thing(tx, name) for name in "abc"])
        update = "UPDATE things SET count = count + 1 WHERE id <> :id"
        assert await things.write(lambda tx: tx.run(update, id="a")) == 2
        assert await things.write(lambda tx: tx.run("DELETE FROM things WHERE id = :id", id="z")) == 0

    async def test_what_is_queued_is_seen_by_the_next_question(self, things: Database) -> None:
        def work(tx: Tx) -> tuple[list[str], int]:
            for name in ("b", "c"):
                tx.queue("INSERT INTO things (id, count, is_new) VALUES (:id, 2, 0)", id=name)
            tx.lock("things")
            found = tx.all(str, "SELECT id FROM things WHERE count = 2 ORDER BY id")
            tx.queue("UPDATE things SET count = 3 WHERE id = 'b'")
            changed = tx.run("UPDATE things SET count = 4 WHERE count = 3")
            tx.queue("DELETE FROM things WHERE id = 'c'")
            return found, changed

        assert await things.write(work) == (["b", "c"], 1)
        assert await things.read(lambda tx: tx.all(int, "SELECT count FROM things WHERE id IN ('b', 'c')")) == [4]

    async def test_a_long_queue_and_long_values_keep_their_order(self, things: Database) -> None:
        long = "x" * 300_000

        def work(tx: Tx) -> None:
            for number in range(200):
                tx.queue(
                    "INSERT INTO things (id, count, is_new) VALUES (:id, :size, 0)", id=f"n{number:03}", size=number
                )
            tx.queue("INSERT INTO things (id, count, is_new, note) VALUES ('z', 7, 0, :note)", note=long)
            tx.queue("UPDATE things SET count = count + 1")

        await things.write(work)
        sizes = await things.read(lambda tx: tx.all(int, "SELECT count FROM things WHERE id LIKE 'n%' ORDER BY id"))
        assert sizes == list(range(1, 201))
        assert await things.read(lambda tx: tx.one(str, "SELECT note FROM things WHERE count = 8 AND id = 'z'")) == long

    async def test_what_is_wrong_in_a_queue_is_raised_before_anything_is_kept(self, things: Database) -> None:
        asked: list[int] = []

        def spoil(tx: Tx) -> None:
            tx.queue("INSERT INTO things (id, count, is_new) VALUES ('b', 1, 0)")
            tx.queue("INSERT INTO things (id, count, is_new) VALUES ('b', 2, 0)")
            tx.queue("INSERT INTO things (id, count, is_new) VALUES ('c', 3, 0)")

        def spoil_and_ask(tx: Tx) -> None:
            spoil(tx)
            asked.append(tx.run("INSERT INTO things (id, count, is_new) VALUES ('d', 4, 0)"))

        for _ in range(6):  # plain, then prepared
            for work in (spoil, spoil_and_ask):
                with pytest.raises(Exception, match="(?i)unique"):
                    await things.write(work)
        assert asked == []
        assert await things.read(lambda tx: tx.one(int, "SELECT COUNT(*) FROM things WHERE id > 'a'")) == 0

    async def test_a_queue_that_is_given_up_changes_nothing_for_later_ones(self, things: Database) -> None:
        def fill(tx: Tx, name: str, gives_up: bool) -> None:
            tx.queue("INSERT INTO things (id, count, is_new) VALUES (:id, 7, 0)", id=name)
            if gives_up:
                raise ZeroDivisionError

        names = [f"t{number:02d}" for number in range(12)]
        for name in names:
            with pytest.raises(ZeroDivisionError):
                await things.write(partial(fill, name=name, gives_up=True))
        for name in names:
            await things.write(partial(fill, name=name, gives_up=False))
        assert await things.read(ids) == names

    async def test_bytes_and_growing_numbers(self, things: Database) -> None:
        insert = "INSERT INTO pieces (thing_id, body) VALUES ('a', :body) RETURNING seq"

        def fill(tx: Tx) -> list[int | None]:
            add_thing(tx, "a")
            return [tx.one(int, insert, body=body) for body in (b"\x00\xff", None)]

        first, second = await things.write(fill)
        assert first is not None and second is not None and first < second
        assert await things.read(lambda tx: tx.all(Piece, "SELECT seq, thing_id, body FROM pieces ORDER BY seq")) == [
            Piece(first, "a", b"\x00\xff"),
            Piece(second, "a", None),
        ]

    async def test_the_sql_that_is_shared(self, things: Database) -> None:
        def upsert(tx: Tx) -> list[int]:
            sql = (
                "INSERT INTO things (id, count, is_new) VALUES (:id, 1, 0)"
                " ON CONFLICT (id) DO UPDATE SET count = things.count + 1"
            )
            ignore = "INSERT INTO things (id, count, is_new) VALUES (:id, 9, 0) ON CONFLICT (id) DO NOTHING"
            return [tx.run(sql, id="a"), tx.run(sql, id="a"), tx.run(ignore, id="a")]

        assert await things.write(upsert) == [1, 1, 0]
        assert await things.read(lambda tx: tx.one(int, "SELECT count FROM things")) == 2
        path = (
            "WITH RECURSIVE path(id, depth) AS (SELECT CAST(:tip AS TEXT), 0 UNION ALL"
            " SELECT (SELECT t.note FROM things t WHERE t.id = path.id), depth + 1 FROM path WHERE path.id IS NOT NULL)"
            " SELECT id FROM path WHERE id IS NOT NULL ORDER BY depth"
        )
        await things.write(lambda tx: [add_thing(tx, "b", note="a"), add_thing(tx, "c", note="b")])
        assert await things.read(lambda tx: tx.all(str, path, tip="c")) == ["c", "b", "a"]

    async def test_a_unit_that_raises_leaves_nothing_and_hurts_nobody(self, things: Database) -> None:
        class Mine(Exception):
            pass

        error = Mine("no")

        def half(tx: Tx) -> None:
            add_thing(tx, "half")
            raise error

        async def write_half() -> None:
            with pytest.raises(Mine) as caught:
                await things.write(half)
            assert caught.value is error

        async def write_thing(name: str) -> None:
            await things.write(lambda tx: add_thing(tx, name))

        writes = [write_thing(f"t{n:02d}") for n in range(30)]
        writes[10:10] = [write_half()]
        await asyncio.gather(*writes)
        assert await things.read(ids) == [f"t{n:02d}" for n in range(30)]

    async def test_a_broken_rule_of_the_schema_rejects_its_unit_only(self, things: Database) -> None:
        await things.write(lambda tx: add_thing(tx, "a"))
        orphan = "INSERT INTO pieces (thing_id) VALUES ('nobody')"
        results = await asyncio.gather(
            things.write(lambda tx: add_thing(tx, "b")),
            things.write(lambda tx: add_thing(tx, "a")),
            things.write(lambda tx: tx.run(orphan)),
            things.write(lambda tx: add_thing(tx, "c")),
            return_exceptions=True,
        )
        assert [isinstance(result, Exception) for result in results] == [False, True, True, False]
        assert await things.read(ids) == ["a", "b", "c"]

    async def test_a_unit_sees_its_own_writes_and_those_before(self, things: Database) -> None:
        def count(tx: Tx) -> int:
            add_thing(tx, f"t{len(ids(tx)):03d}")
            return len(ids(tx))

        assert [await things.write(count) for _ in range(5)] == [1, 2, 3, 4, 5]

    async def test_a_read_cannot_write(self, things: Database) -> None:
        with pytest.raises(Exception):  # noqa: B017 - each engine has its own words for it
            await things.read(lambda tx: add_thing(tx, "a"))
        assert await things.read(ids) == []
        assert await things.write(lambda tx: add_thing(tx, "a")) == 1

    async def test_a_read_sees_one_moment(self, things: Database) -> None:
        await things.write(lambda tx: add_thing(tx, "a"))
        look = TwoLooks()
        reading = asyncio.ensure_future(things.read(look))
        assert await asyncio.to_thread(look.has_begun.wait, PATIENCE_S)
        await things.write(lambda tx: add_thing(tx, "b"))
        look.may_end.set()
        assert await reading == (["a"], ["a"])
        assert await things.read(ids) == ["a", "b"]

    async def test_a_unit_that_is_held_lets_all_others_go_on(self, things: Database) -> None:
        await things.write(lambda tx: add_thing(tx, "a"))
        look = TwoLooks()
        holding = [asyncio.ensure_future(things.hold(look)) for _ in range(3)]
        assert await asyncio.to_thread(look.has_begun.wait, PATIENCE_S)
        await things.write(lambda tx: add_thing(tx, "b"))
        reads = asyncio.gather(*(things.read(ids) for _ in range(20)))
        assert await asyncio.wait_for(reads, PATIENCE_S / 2) == [["a", "b"]] * 20
        assert await things.plan([("contract", [THINGS])]) == []
        look.may_end.set()
        for first, second in await asyncio.gather(*holding):
            assert first == second and "a" in first
        with pytest.raises(Exception):  # noqa: B017 - each engine has its own words for it
            await things.hold(lambda tx: add_thing(tx, "c"))
        with pytest.raises(ZeroDivisionError):
            await things.hold(lambda tx: len(ids(tx)) // 0)

    async def test_fifty_writers_lose_no_step(self, things: Database) -> None:
        await things.write(lambda tx: add_thing(tx, "a", count=500))
        take = "UPDATE things SET count = count - 1 WHERE id = 'a' AND count >= 1"

        async def work() -> int:
            return sum([await things.write(lambda tx: tx.run(take)) for _ in range(12)])

        assert sum(await asyncio.gather(*(work() for _ in range(50)))) == 500
        assert await things.read(lambda tx: tx.one(int, "SELECT count FROM things")) == 0

    async def test_who_holds_a_lock_may_look_before_writing(self, things: Database) -> None:
        def add_unless_there(tx: Tx) -> int:
            tx.lock("things:a")
            return 0 if ids(tx) else add_thing(tx, "a")

        assert sum(await asyncio.gather(*(things.write(add_unless_there) for _ in range(20)))) == 1

    async def test_a_caller_who_leaves_does_not_stop_the_unit(self, things: Database) -> None:
        has_begun, may_go_on = threading.Event(), threading.Event()

        def slow(tx: Tx) -> None:
            has_begun.set()
            assert may_go_on.wait(PATIENCE_S)
            add_thing(tx, "kept")

        leaving = asyncio.ensure_future(things.write(slow))
        assert await asyncio.to_thread(has_begun.wait, PATIENCE_S)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        may_go_on.set()
        async with asyncio.timeout(PATIENCE_S):
            while await things.read(ids) != ["kept"]:
                await things.write(lambda tx: None)

    async def test_a_transaction_kept_after_its_end_is_useless(self, things: Database) -> None:
        kept = await things.write(lambda tx: tx)
        with pytest.raises(RuntimeError):
            add_thing(kept, "late")
        assert await things.read(ids) == []

    async def test_a_unit_cannot_end_the_transaction(self, things: Database) -> None:
        with pytest.raises(ValueError, match="engine"):
            await things.write(lambda tx: tx.run("COMMIT"))
        with pytest.raises(ValueError, match="engine"):
            await things.write(lambda tx: tx.all(str, " rollback"))

    async def test_migrations_run_once_and_in_order(self, database: Database) -> None:
        more = Migration("0002_more", ("ALTER TABLE things ADD COLUMN extra TEXT",))
        other = Migration("0001_things", ("CREATE TABLE others (id TEXT PRIMARY KEY)",))
        assert await database.plan([("contract", [THINGS])]) == ["contract/0001_things"]
        assert await database.migrate([("contract", [THINGS])]) == ["contract/0001_things"]
        assert await database.plan([("contract", [THINGS])]) == []
        assert await database.migrate([("contract", [THINGS])]) == []
        sets = [("contract", [THINGS, more]), ("other", [other])]
        assert await database.migrate(sets) == ["contract/0002_more", "other/0001_things"]
        assert await database.migrate([("other", [other])]) == []
        await database.write(lambda tx: tx.run("INSERT INTO things (id, count, is_new, extra) VALUES ('a', 1, 0, 'x')"))
        assert await database.read(lambda tx: tx.one(str, "SELECT settings FROM things")) == "{}"

    async def test_a_failing_migration_leaves_nothing_of_itself(self, database: Database) -> None:
        with pytest.raises(SetupError, match="contract/0002_broken"):
            await database.migrate([("contract", [THINGS, BROKEN])])
        assert await database.read(ids) == []
        mended = Migration("0002_mended", ("CREATE TABLE halves (id TEXT PRIMARY KEY)",))
        assert await database.migrate([("contract", [THINGS, mended])]) == ["contract/0002_mended"]

    async def test_a_changed_migration_is_refused(self, things: Database) -> None:
        changed = Migration(THINGS.name, (*THINGS.sql, "CREATE TABLE later (id TEXT)"))
        with pytest.raises(SetupError, match="contract/0001_things was changed"):
            await things.migrate([("contract", [changed])])

    async def test_a_newer_schema_is_refused(self, things: Database) -> None:
        newer = Migration("0002_newer", ("CREATE TABLE newer (id TEXT PRIMARY KEY)",))
        await things.migrate([("contract", [THINGS, newer])])
        with pytest.raises(SetupError, match=r"newer.*contract/0002_newer"):
            await things.migrate([("contract", [THINGS])])

    async def test_a_closed_database_says_so(self, things: Database) -> None:
        await things.close()
        with pytest.raises(Unavailable):
            await things.read(ids)
        with pytest.raises(Unavailable):
            await things.hold(ids)
        with pytest.raises(Unavailable):
            await things.write(lambda tx: None)
        await things.close()
