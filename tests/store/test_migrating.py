"""A migration that is killed: each step happened or did not, nothing is in between, and the next start goes on."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chatserver.store.database import Database
from tests.engines import open_postgres, open_sqlite
from tests.store import victim

VICTIM = Path(victim.__file__)


@pytest.fixture
def place(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    return str(tmp_path / "chat.db") if engine == "sqlite" else str(request.getfixturevalue("postgres_url"))


async def open_at(place: str) -> Database:
    return await open_postgres(place) if "://" in place else open_sqlite(Path(place))


async def empty(database: Database) -> None:
    def drop(tx: object) -> None:
        for table in ("numbers", "first", "copies", "last", "migrations"):
            tx.run(f"DROP TABLE IF EXISTS {table}")  # type: ignore[attr-defined]

    await database.write(drop)


def run_and_kill(place: str, rows: int, after_s: float) -> float:
    """Kill it so many seconds after the slow step began, unless it is done before; how long it was let."""
    command = [sys.executable, str(VICTIM), "migrate", place, str(rows)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "migrating\n"
        began = time.monotonic()
        try:
            child.wait(after_s)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
        child.wait()
        assert child.returncode in (0, -signal.SIGKILL)
        return time.monotonic() - began


async def look(database: Database, rows: int) -> str:
    """How far it came: nothing in between is allowed."""
    left = await database.plan(victim.sets(rows))
    negative = await database.read(lambda tx: tx.one(int, "SELECT COUNT(*) FROM numbers WHERE n < 0"))
    if left == ["numbers/0002_slow", "numbers/0003_last"]:
        assert negative == 0
        for table in ("first", "copies", "last"):
            with pytest.raises(Exception, match=table):
                await database.read(lambda tx, table=table: tx.one(int, f"SELECT COUNT(*) FROM {table}"))  # type: ignore[misc]
        return "before"
    assert await database.read(lambda tx: tx.one(int, "SELECT COUNT(*) FROM copies")) == rows
    assert negative == 10
    assert left in ([], ["numbers/0003_last"])
    return "after" if not left else "between two steps"


async def kill_many_times(place: str, times: int, rows: int) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    whole_s = await asyncio.to_thread(run_and_kill, place, rows, 300)
    seen: list[str] = []
    for _ in range(times):
        database = await open_at(place)
        await empty(database)
        await database.close()
        await asyncio.to_thread(run_and_kill, place, rows, chance.uniform(0, whole_s))
        database = await open_at(place)
        seen.append(await look(database, rows))
        await database.migrate(victim.sets(rows))
        assert await look(database, rows) == "after"
        await database.close()
    print(f"{times} kills: {', '.join(f'{seen.count(one)} {one}' for one in sorted(set(seen)))}")


@pytest.mark.timeout(180)
async def test_a_migration_killed_at_a_random_moment_happened_or_did_not(place: str) -> None:
    await kill_many_times(place, 3, 200_000)


@pytest.mark.torture
@pytest.mark.timeout(900)
async def test_a_migration_killed_twenty_times_happened_or_did_not(place: str) -> None:
    await kill_many_times(place, 20, 600_000)
