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
from chatserver.store.database import Tx
from chatserver.store.lock import hold_lock
from chatserver.store.sqlite import SqliteDatabase

NUMBERS = Migration("0001_numbers", ("CREATE TABLE numbers (n INTEGER PRIMARY KEY)",))
SLOW = Migration(
    "0002_slow",
    (
        "CREATE TABLE copies (n INTEGER PRIMARY KEY, body TEXT NOT NULL)",
        "INSERT INTO copies (n, body) WITH RECURSIVE c(n) AS"
        " (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 20000000) SELECT n, 'text that takes room' FROM c",
    ),
)


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


async def migrate_slowly(path: Path) -> None:
    database = SqliteDatabase.open(path)
    await database.migrate([("numbers", [NUMBERS])])
    print("migrating", flush=True)
    await database.migrate([("numbers", [NUMBERS, SLOW])])
    print("done", flush=True)


if __name__ == "__main__":
    path = Path(sys.argv[2])
    with hold_lock(path):
        asyncio.run({"write": write_numbers, "few": write_few, "migrate": migrate_slowly}[sys.argv[1]](path))
