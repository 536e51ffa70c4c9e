"""Many units of every kind at once while the server ends connections at random: each is kept whole, once, or not."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from functools import partial
from typing import Any

import psycopg
import pytest
from chatserver_postgres.database import PostgresDatabase

from chatserver import Migration, Tx, Unavailable, clock

WORKERS, PLACES = 40, 20
TABLES = Migration(
    "0001_sums",
    (
        "CREATE TABLE sums (id INTEGER PRIMARY KEY, n BIGINT NOT NULL)",
        "CREATE TABLE notes (name TEXT PRIMARY KEY, many INTEGER NOT NULL)",
    ),
)


class No(Exception):
    pass


def unit(tx: Tx, name: str, kind: float, places: list[int]) -> None:
    """Add one in three places, and note that it was done. kind: locked, asked in between, given up or refused."""
    if kind < 0.3:
        tx.lock(f"place {places[0]}")
    for place in places:
        tx.queue("UPDATE sums SET n = n + 1 WHERE id = :id", id=place)
    if kind < 0.5:
        assert tx.one(int, "SELECT n FROM sums WHERE id = :id", id=places[0])
    note = "INSERT INTO notes (name, many) VALUES (:name, :many)"
    tx.queue(note, name=name, many=len(places))
    if kind > 0.9:
        raise No
    if kind > 0.85:
        tx.queue(note, name=name, many=0)


def sums(tx: Tx) -> tuple[int, int]:
    noted = tx.one(int, "SELECT COALESCE(SUM(many), 0) FROM notes")
    return tx.one(int, "SELECT SUM(n) FROM sums") or 0, noted or 0


class Chaos:
    def __init__(self, database: PostgresDatabase, is_over: Callable[[], bool]) -> None:
        self._database = database
        self._is_over = is_over
        self.kept: set[str] = set()
        self.unsure: set[str] = set()
        self.ended = 0

    async def work(self, worker: int) -> None:
        chance, number = random.Random(worker), 0
        while not self._is_over():
            number += 1
            name, kind = f"{worker}.{number}", chance.random()
            do = partial(unit, name=name, kind=kind, places=chance.sample(range(PLACES), 3))
            writing = asyncio.ensure_future(self._database.write(do))
            try:
                if 0.6 < kind < 0.63:
                    self.unsure.add(name)
                    await asyncio.sleep(0.01 * chance.random())
                    writing.cancel()
                await writing
                assert kind <= 0.85, "nothing of this one may be kept"
                self.kept.add(name)
            except Unavailable:
                self.unsure.add(name)
            except (No, psycopg.errors.UniqueViolation):
                assert kind > 0.85
            except asyncio.CancelledError:
                assert name in self.unsure
            if kind < 0.3:
                await self.look(self._database.read)

    async def look(self, read: Callable[[Callable[[Tx], tuple[int, int]]], Any]) -> None:
        try:
            added, noted = await read(sums)
        except Unavailable:
            return
        assert added == noted, "a half of something is seen"

    async def hold(self) -> None:
        while not self._is_over():
            await self.look(self._database.hold)

    async def end_connections(self, url: str) -> None:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as server:
            while not self._is_over():
                await asyncio.sleep(random.uniform(0.1, 0.5))
                ours = "pid <> pg_backend_pid() AND application_name = 'chatserver'"
                found = await server.execute(f"SELECT pid FROM pg_stat_activity WHERE {ours} ORDER BY random() LIMIT 1")
                for row in await found.fetchall():
                    await server.execute("SELECT pg_terminate_backend(%s)", row)
                    self.ended += 1


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seconds", [4, pytest.param(60, marks=pytest.mark.torture)])
async def test_what_was_acknowledged_is_kept_once_and_nothing_else(
    database: PostgresDatabase, postgres_url: str, seconds: int
) -> None:
    await database.migrate([("chaos", [TABLES])])
    fill = "INSERT INTO sums (id, n) VALUES (:id, 0)"
    await database.write(lambda tx: [tx.queue(fill, id=place) for place in range(PLACES)] and None)
    until_s = clock.monotonic_s() + seconds
    chaos = Chaos(database, lambda: clock.monotonic_s() > until_s)
    await asyncio.gather(
        *(chaos.work(worker) for worker in range(WORKERS)), chaos.hold(), chaos.end_connections(postgres_url)
    )
    await chaos.look(database.read)
    noted = set(await database.read(lambda tx: tx.all(str, "SELECT name FROM notes")))
    assert chaos.ended and len(chaos.kept) > WORKERS
    assert chaos.kept <= noted <= chaos.kept | chaos.unsure
