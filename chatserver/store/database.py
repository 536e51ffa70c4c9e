"""The seam every engine stands behind: two calls, read and write, each given a plain function of a transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from chatserver.domain.extend import Migration

T = TypeVar("T")
R = TypeVar("R")
Value = str | int | float | bytes | None


class Tx(Protocol):
    """One transaction. SQL is written out with `:name` parameters; rows are decoded into msgspec Structs by column
    name, or, for a scalar type (int, str), into the first column. No I/O but these three, and nothing that cannot be
    done twice: the engine may run the function again. engine: `sqlite`, `postgres`…, for the one question whose SQL
    differs (search)."""

    engine: str

    def all(self, row_type: type[T], sql: str, **parameters: Value) -> list[T]: ...
    def one(self, row_type: type[T], sql: str, **parameters: Value) -> T | None: ...
    def run(self, sql: str, **parameters: Value) -> int:
        """Run a statement and return how many rows it changed."""
        ...

    def queue(self, sql: str, **parameters: Value) -> None:
        """Run a statement of which nobody asks how many rows it changed: at the latest before the next question, or the
        commit. What is wrong with it is raised there. An engine behind a socket sends many in one go."""
        ...

    def lock(self, name: str) -> None:
        """Until this transaction ends no other one holds a lock of this name, on any node: what is read from here on
        under it stays true. For functions that look before they write; an engine that runs one write at a time, and
        a read, need none. Take it before the first look."""
        ...


class Readable(Protocol):
    """What can be looked at: a database, or a file that was one. See Database.read."""

    async def read(self, function: Callable[[Tx], R]) -> R: ...


class Database(Protocol):
    """An engine. read: a consistent snapshot, writes are an error. hold: a read whose function may wait for others, and
    nothing else waits with it. write: acknowledged after the durable commit, all or nothing; raises StorageFull when
    the disk takes no more. essential: may use the space held back for a full disk,
    for what must go on then: signing in, ending turns, deleting; where units queue it goes first. A cancelled caller
    does not cancel its unit. is_shared: other processes may write here too, so nothing but a lease that ran out proves
    anybody dead."""

    engine: str
    is_shared: bool

    async def read(self, function: Callable[[Tx], R]) -> R: ...
    async def hold(self, function: Callable[[Tx], R]) -> R: ...
    async def write(self, function: Callable[[Tx], R], *, essential: bool = False) -> R: ...
    async def migrate(self, sets: list[tuple[str, list[Migration]]]) -> list[str]:
        """Bring every named set up to date; returns what was run, as `set/name`. Refuses a newer or changed schema."""
        ...

    async def plan(self, sets: list[tuple[str, list[Migration]]]) -> list[str]:
        """What migrate would run, as `set/name`; raises what it would raise."""
        ...

    async def close(self) -> None: ...
