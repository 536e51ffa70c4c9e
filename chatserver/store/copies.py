"""How far a copy of a whole database has come: kept in the target, which nobody serves before it is complete."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import msgspec

from chatserver.domain.extend import Migration
from chatserver.errors import SetupError
from chatserver.store.database import Tx
from chatserver.store.migrations import COPY_SET, Sets
from chatserver.store.tables import Position

R = TypeVar("R")
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


class Source(Protocol):
    """What is read from: a database nobody writes to meanwhile, or one moment of it."""

    @property
    def engine(self) -> str: ...
    async def read(self, function: Callable[[Tx], R]) -> R: ...
    async def plan(self, sets: Sets) -> list[str]: ...


async def waiting(db: Source, sets: Sets) -> list[str]:
    """The migrations still to run, as `set/name`. Raises SetupError for a newer or a foreign schema."""
    return await db.plan(sets)


def progress_of(tx: Tx, name: str) -> Progress:
    row = tx.one(_Stored, "SELECT position, is_done FROM copy_progress WHERE name = :name", name=name)
    if row is None:
        return Progress()
    return Progress(msgspec.msgpack.decode(bytes.fromhex(row.position), type=tuple), row.is_done)


def enter(tx: Tx, name: str, at: Progress) -> None:
    """The first step of every transaction of a copy. Raises SetupError when it stands elsewhere than the caller
    believes: then somebody else copies, too."""
    tx.lock(COPY_SET)
    if progress_of(tx, name) != at:
        raise SetupError("Another copy into this target is under way. Wait for it, or go on with --resume after it.")


def note(tx: Tx, name: str, at: Progress) -> None:
    """In the transaction that writes what it tells of."""
    tx.run(
        "INSERT INTO copy_progress (name, position, is_done) VALUES (:name, :position, :is_done)"
        " ON CONFLICT (name) DO UPDATE SET position = excluded.position, is_done = excluded.is_done",
        name=name,
        position=msgspec.msgpack.encode(at.position).hex(),
        is_done=int(at.is_done),
    )


def finish(tx: Tx) -> None:
    """From now on the database may be served."""
    tx.lock(COPY_SET)
    if tx.run("DELETE FROM migrations WHERE set_name = :name", name=COPY_SET):
        tx.run("DROP TABLE copy_progress")
