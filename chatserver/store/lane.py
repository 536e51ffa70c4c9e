"""One connection to the SQLite file, the transaction it hands out, and what its errors mean."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path
from typing import TypeVar

from chatserver.errors import StorageFull, Unavailable
from chatserver.store.database import Value
from chatserver.store.rows import Decoders

T = TypeVar("T")
BUSY_TIMEOUT_MS = 5_000
MAX_WAL_BYTES = 64 * 1024 * 1024
MAX_CHECKED = 5_000
WRITER_CACHE_KB, READER_CACHE_KB = 16_384, 4_096
"""Of pages, for each connection; the system keeps the file in its memory as well."""
NOT_IN_A_UNIT = {
    "BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE", "ATTACH", "DETACH", "PRAGMA", "VACUUM",
}  # fmt: skip
BROKEN = {
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_PROTOCOL,
}  # fmt: skip
"""Primary result codes after which nothing of the transaction can be trusted to stand."""

log = logging.getLogger(__name__)


class SqliteTx:
    """The Tx of this engine, good for one run of one function."""

    __slots__ = ("_checked", "_connection", "_decoders", "engine")

    def __init__(self, connection: sqlite3.Connection, decoders: Decoders, checked: set[str]) -> None:
        self.engine = "sqlite"
        self._connection: sqlite3.Connection | None = connection
        self._decoders = decoders
        self._checked = checked

    def all(self, row_type: type[T], sql: str, **parameters: Value) -> list[T]:
        cursor = self._execute(sql, parameters)
        decode = self._decoders.find(row_type, sql)
        if decode is None:
            decode = self._decoders.make(row_type, sql, [column[0] for column in cursor.description or ()])
        return decode(cursor.fetchall())

    def one(self, row_type: type[T], sql: str, **parameters: Value) -> T | None:
        rows = self.all(row_type, sql, **parameters)
        return rows[0] if rows else None

    def run(self, sql: str, **parameters: Value) -> int:
        cursor = self._execute(sql, parameters)
        if cursor.description is not None:
            return len(cursor.fetchall())
        return max(cursor.rowcount, 0)

    def queue(self, sql: str, **parameters: Value) -> None:
        self._execute(sql, parameters).close()

    def lock(self, name: str) -> None:
        """One thread writes, so everything is locked already."""

    def end(self) -> None:
        self._connection = None

    def _execute(self, sql: str, parameters: dict[str, Value]) -> sqlite3.Cursor:
        if self._connection is None:
            raise RuntimeError("This transaction is over: use tx only inside the function it was given to.")
        if sql not in self._checked:
            self._check(sql)
        return self._connection.execute(sql, parameters)

    def _check(self, sql: str) -> None:
        word = sql.split(None, 1)[0].upper().rstrip(";") if sql.strip() else ""
        if word in NOT_IN_A_UNIT:
            raise ValueError(f"{word} is the engine's own business; a unit runs plain statements only.")
        if len(self._checked) >= MAX_CHECKED:
            self._checked.clear()
        self._checked.add(sql)


class Lane:
    """A connection and what belongs to it; used by one thread at a time."""

    def __init__(self, path: Path, *, reads_only: bool) -> None:
        self.path = path
        self.reads_only = reads_only
        self.connection = connect(path, reads_only=reads_only)
        self._decoders = Decoders()
        self._checked: set[str] = set()

    def begin(self) -> SqliteTx:
        return SqliteTx(self.connection, self._decoders, self._checked)

    def roll_back(self) -> None:
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    def reopen(self) -> None:
        """A fresh connection after an error of the disk; when even that fails the old one stays and says so again."""
        try:
            fresh = connect(self.path, reads_only=self.reads_only)
        except sqlite3.Error:
            return
        self.connection.close()
        self.connection = fresh


def connect(path: Path, *, reads_only: bool) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT_MS / 1000, isolation_level=None, check_same_thread=False, cached_statements=512
    )
    try:
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            f"busy_timeout={BUSY_TIMEOUT_MS}",
            "trusted_schema=OFF",
            f"journal_size_limit={MAX_WAL_BYTES}",
            "temp_store=MEMORY",
            f"cache_size=-{READER_CACHE_KB if reads_only else WRITER_CACHE_KB}",
            f"query_only={int(reads_only)}",
        ):
            connection.execute(f"PRAGMA {pragma}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def primary_code(error: BaseException) -> int:
    """SQLite's primary result code, 0 when the error is not SQLite's."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def is_broken(error: BaseException) -> bool:
    return primary_code(error) in BROKEN


def storage_full() -> StorageFull:
    return StorageFull("The server's disk is full, so nothing of this was kept. Free some space there, then try again.")


def explain(error: BaseException) -> BaseException:
    """The house's error for trouble with the disk; anything else, the unit's own, stays what it is."""
    if not is_broken(error):
        return error
    if primary_code(error) == sqlite3.SQLITE_FULL:
        answer: BaseException = storage_full()
    elif primary_code(error) == sqlite3.SQLITE_BUSY:
        answer = Unavailable("Another program holds the database. Close it, then try again.", retry_after_s=1)
    else:
        answer = Unavailable("The database cannot be reached; the server's log says why. Try again.", retry_after_s=5)
    answer.__cause__ = error
    return answer
