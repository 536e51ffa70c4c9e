"""How far a copy of a whole database has come: kept in the target, which nobody serves before it is complete."""

from __future__ import annotations

import msgspec

from chatserver.domain.extend import Migration
from chatserver.store.database import Database, Tx
from chatserver.store.migrations import COPY_SET, Sets
from chatserver.store.tables import Position

SETS: Sets = [
    (
        COPY_SET,
        [
            Migration(
                "0001_first",
                (
                    "CREATE TABLE copy_progress (name TEXT PRIMARY KEY, position TEXT NOT NULL,"
                    " is_done INTEGER NOT NULL)",
                ),
            )
        ],
    )
]
"""While this set is recorded in a database, `migrations.plan` lets nobody in who does not bring it."""


class Progress(msgspec.Struct, frozen=True):
    """position: where the last page ended, () before the first."""

    position: Position = ()
    is_done: bool = False


class _Stored(msgspec.Struct, frozen=True):
    position: str
    is_done: bool


async def waiting(db: Database, sets: Sets) -> list[str]:
    """The migrations still to run, as `set/name`. Raises SetupError for a newer or a foreign schema."""
    return await db.plan(sets)


def progress_of(tx: Tx, name: str) -> Progress:
    row = tx.one(_Stored, "SELECT position, is_done FROM copy_progress WHERE name = :name", name=name)
    if row is None:
        return Progress()
    return Progress(msgspec.msgpack.decode(bytes.fromhex(row.position), type=tuple), row.is_done)


def note(tx: Tx, name: str, position: Position, *, is_done: bool) -> None:
    """In the transaction that writes what it tells of."""
    tx.run(
        "INSERT INTO copy_progress (name, position, is_done) VALUES (:name, :position, :is_done)"
        " ON CONFLICT (name) DO UPDATE SET position = excluded.position, is_done = excluded.is_done",
        name=name,
        position=msgspec.msgpack.encode(position).hex(),
        is_done=int(is_done),
    )


def finish(tx: Tx) -> None:
    """From now on the database may be served."""
    tx.run("DROP TABLE copy_progress")
    tx.run("DELETE FROM migrations WHERE set_name = :name", name=COPY_SET)
