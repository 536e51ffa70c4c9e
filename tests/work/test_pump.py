"""The pump: every event to everybody who wants it, each plugin on its own, and nothing kept of what nobody wants."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chatserver import AccountCreated, AccountErased, CallEnded, Delivery, TurnEnded, Usage, hookimpl
from chatserver.clock import now_us
from chatserver.plugins import Plugins
from chatserver.store import outbox
from chatserver.store.database import Database, Tx
from chatserver.work.pump import Pump
from tests.engines import core_database

CALL = CallEnded("c", "a", "chat", "web", "small", "", "done", Usage())
TURN = TurnEnded("t", "k", "a", "q", "r", "done", Usage())


class Listener:
    def __init__(self, *, fails: int = 0) -> None:
        self.told: list[object] = []
        self.fails = fails

    @hookimpl(events=(CallEnded, AccountErased))
    async def handle_event(self, delivery: Delivery) -> None:
        self.told.append(delivery.event)
        if self.fails:
            self.fails -= 1
            raise OSError("not now")


@pytest.fixture(params=["sqlite", "postgres"])
async def db(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    async with core_database(request.param, tmp_path, lambda: request.getfixturevalue("postgres_server")) as opened:
        yield opened


async def counted(db: Database) -> tuple[int, int]:
    """How many events are done, and how many notes of who had one there are."""

    def count(tx: Tx) -> tuple[int, int]:
        done = tx.one(int, "SELECT COUNT(*) FROM outbox WHERE done_at IS NOT NULL")
        return done or 0, tx.one(int, "SELECT COUNT(*) FROM outbox_deliveries") or 0

    return await db.read(count)


async def put(db: Database, *events: object) -> None:
    await db.write(lambda tx: [outbox.append(tx, event) for event in events] and None)  # type: ignore[arg-type]


async def test_what_everybody_took_or_nobody_wants_leaves_no_note(db: Database) -> None:
    ledger, mail = Listener(), Listener(fails=1)
    plugins = Plugins.load(found=(), extra=[("ledger", ledger), ("mail", mail)])
    pump = Pump(db, plugins)
    await put(db, TURN, CALL, AccountCreated("a"))
    assert await pump.pump_once() == 1
    assert (ledger.told, mail.told) == ([CALL], [CALL])
    assert await counted(db) == (2, 1), "who had it is noted, because another one did not take it"
    await db.write(lambda tx: tx.run("UPDATE outbox SET available_at = :now", now=now_us()))
    assert await pump.pump_once() == 1
    assert (ledger.told, mail.told) == ([CALL], [CALL, CALL])
    assert (await counted(db))[0] == 3
    await put(db, CALL)
    assert await pump.pump_once() == 1
    assert await counted(db) == (4, 1)


async def test_nothing_is_looked_for_where_nobody_listens(db: Database) -> None:
    pump = Pump(db, Plugins.load(found=(), extra=[]))
    await put(db, TURN, CALL)
    assert await pump.pump_once() == 0
    assert await counted(db) == (0, 0), "whoever listens first has them yet"
