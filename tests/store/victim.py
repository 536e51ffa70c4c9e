"""A child process to be killed: it writes and prints what was acknowledged, or is caught in a migration."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import os
import sqlite3
import sys
from pathlib import Path

from chatserver.domain.extend import Migration
from chatserver.errors import ChatserverError
from chatserver.store.database import Database, Tx
from chatserver.store.lock import hold_lock
from chatserver.store.sqlite import SqliteDatabase

NUMBERS = Migration("0001_numbers", ("CREATE TABLE numbers (n INTEGER PRIMARY KEY)",))


def slow(rows: int) -> Migration:
    """Two tables, the second filled with so many rows."""
    return Migration(
        "0002_slow",
        (
            "CREATE TABLE first (n INTEGER PRIMARY KEY)",
            "CREATE TABLE copies (n INTEGER PRIMARY KEY, body TEXT NOT NULL)",
            "INSERT INTO copies (n, body) WITH RECURSIVE c(n) AS"
            f" (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {rows}) SELECT n, 'text that takes room' FROM c",
            "INSERT INTO numbers (n) SELECT -n FROM copies WHERE n <= 10",
        ),
    )


def sets(rows: int) -> list[tuple[str, list[Migration]]]:
    return [("numbers", [NUMBERS, slow(rows), LAST])]


LAST = Migration("0003_last", ("CREATE TABLE last (n INTEGER PRIMARY KEY)",))


def insert(tx: Tx, number: int) -> None:
    tx.run("INSERT INTO numbers (n) VALUES (:n)", n=number)


async def write_numbers(path: Path) -> None:
    database = SqliteDatabase.open(path)
    await database.migrate([("numbers", [NUMBERS])])
    numbers = itertools.count(1)

    async def work() -> None:
        for number in numbers:
            await database.write(functools.partial(insert, number=number))
            print(number, flush=True)

    await asyncio.gather(*(work() for _ in range(8)))


async def write_few(path: Path) -> None:
    """Forty writes one by one; the ones that fail are not told."""
    database = SqliteDatabase.open(path)
    await database.migrate([("numbers", [NUMBERS])])
    for number in range(1, 41):
        with contextlib.suppress(ChatserverError, sqlite3.Error):
            await database.write(functools.partial(insert, number=number))
            os.write(1, f"{number}\n".encode())
    await database.close()


async def migrate_slowly(place: str, rows: int) -> None:
    """place: a path, or a URL of PostgreSQL's."""
    if "://" in place:
        from chatserver_postgres.database import PostgresDatabase

        database: Database = await PostgresDatabase.open(place)
    else:
        database = SqliteDatabase.open(Path(place))
    await database.migrate([("numbers", [NUMBERS])])
    print("migrating", flush=True)
    await database.migrate(sets(rows))
    print("done", flush=True)
    await database.close()


if __name__ == "__main__":
    task, place, *more = sys.argv[1:]
    if task == "migrate":
        with contextlib.nullcontext() if "://" in place else hold_lock(Path(place)):
            asyncio.run(migrate_slowly(place, int(more[0])))
    else:
        with hold_lock(Path(place)):
            asyncio.run({"write": write_numbers, "few": write_few}[task](Path(place)))
