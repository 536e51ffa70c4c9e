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


class Database(Protocol):
    """An engine. read: a consistent snapshot, writes are an error. write: acknowledged after the durable commit, all
    or nothing; raises StorageFull when the disk takes no more. essential: may use the space held back for a full disk,
    for what must go on then: signing in, ending turns, deleting. A cancelled caller does not cancel its unit."""

    engine: str

    async def read(self, function: Callable[[Tx], R]) -> R: ...
    async def write(self, function: Callable[[Tx], R], *, essential: bool = False) -> R: ...
    async def migrate(self, sets: list[tuple[str, list[Migration]]]) -> list[str]:
        """Bring every named set up to date; returns what was run, as `set/name`. Refuses a newer or changed schema."""
        ...

    async def close(self) -> None: ...
