"""One connection to PostgreSQL, the transaction it hands out, and what its errors mean."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg
from psycopg import errors, pq
from psycopg.adapt import Loader, Transformer
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.numeric import NumericBinaryLoader

from chatserver import Decoders, StorageFull, Unavailable, Value
from chatserver_postgres.statements import BINARY, encode, translate

T = TypeVar("T")
R = TypeVar("R")
DEFAULTS = {
    "connect_timeout": "3",
    "application_name": "chatserver",
    # A machine that vanished without a word is noticed in about fifteen seconds instead of two hours.
    "keepalives_idle": "5",
    "keepalives_interval": "3",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}
PREPARED_AT = 3
"""How often a statement runs on a connection before it is prepared there."""
MAX_PREPARED = 1_000
_ALWAYS = b"SET client_encoding = 'UTF8'; SET standard_conforming_strings = on; SET bytea_output = 'hex';"
WRITER_SETUP = _ALWAYS + (
    b"SET default_transaction_isolation = 'read committed'; SET default_transaction_read_only = off;"
    # A node that was stopped in mid-transaction holds locks: the server lets go of them for it.
    b"SET idle_in_transaction_session_timeout = '10s'; SET lock_timeout = '15s';"
    # Acknowledged means on disk, whatever the server's default is.
    b"SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
)
READER_SETUP = _ALWAYS + (
    b"SET default_transaction_isolation = 'repeatable read'; SET default_transaction_read_only = on;"
    b"SET idle_in_transaction_session_timeout = '120s'"
)
_GOOD = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK, pq.ExecStatus.EMPTY_QUERY)


class Lost(Exception):
    """The connection is gone, and nothing of the unit was kept: it may run again on another."""


class Unsure(Exception):
    """The connection went while a commit was under way: nobody knows whether it happened."""


class Collision(Exception):
    """Two transactions were in each other's way, and this one was undone: it may run again."""


class _Flag(Loader):
    """Booleans as SQLite has them: 0 and 1."""

    format = pq.Format.BINARY

    def load(self, data: Any) -> int:
        return int(data[0])


class _Number(NumericBinaryLoader):
    """Sums are numeric here; whole ones come as int, others as float."""

    def load(self, data: Any) -> Any:
        number = super().load(data)
        return int(number) if number == number.to_integral_value() else float(number)


def conninfo_of(url: str) -> str:
    """The URL with our defaults for what it leaves open. Raises psycopg.ProgrammingError when it cannot be read."""
    return make_conninfo("", **{**DEFAULTS, **conninfo_to_dict(url)})


class PostgresTx:
    """The Tx of this engine, good for one run of one function."""

    __slots__ = ("_lane", "_locks", "engine")

    def __init__(self, lane: Lane, locks: bool) -> None:
        self.engine = "postgres"
        self._lane: Lane | None = lane
        self._locks = locks

    def all(self, row_type: type[T], sql: str, **parameters: Value) -> list[T]:
        lane = self._lane or _is_over()
        result = lane.execute(sql, parameters)
        decode = lane.decoders.find(row_type, sql)
        if decode is None:
            names = [(result.fname(number) or b"").decode() for number in range(result.nfields)]
            decode = lane.decoders.make(row_type, sql, names)
        return decode(lane.rows(result))

    def one(self, row_type: type[T], sql: str, **parameters: Value) -> T | None:
        rows = self.all(row_type, sql, **parameters)
        return rows[0] if rows else None

    def run(self, sql: str, **parameters: Value) -> int:
        lane = self._lane or _is_over()
        result = lane.execute(sql, parameters)
        return result.ntuples if result.nfields else result.command_tuples or 0

    def lock(self, name: str) -> None:
        lane = self._lane or _is_over()
        if self._locks:
            lane.execute("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))", {"name": name})

    def end(self) -> None:
        self._lane = None


class Lane:
    """A connection, opened when it is needed, and what belongs to it; used by one thread, and cut by any."""

    def __init__(self, conninfo: str, *, reads_only: bool) -> None:
        self.reads_only = reads_only
        self.decoders = Decoders()
        self._conninfo = conninfo
        self._connection: psycopg.Connection[Any] | None = None
        self._pg: Any = None
        self._closing = threading.Lock()
        self._transformer: Any = None
        self._prepared: dict[tuple[str, tuple[int, ...]], bytes] = {}
        self._seen: dict[str, int] = {}

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    def open(self) -> None:
        """Connect. Raises psycopg.Error."""
        connection = psycopg.connect(self._conninfo, autocommit=True)
        connection.adapters.register_loader("bool", _Flag)
        connection.adapters.register_loader("numeric", _Number)
        try:
            self._check(connection.pgconn.exec_(READER_SETUP if self.reads_only else WRITER_SETUP))
        except BaseException:
            connection.close()
            raise
        self._connection, self._pg = connection, connection.pgconn
        self._transformer = Transformer(connection)
        self._prepared.clear()
        self._seen.clear()
        self.decoders.clear()

    def close(self) -> None:
        with self._closing:
            if self._connection is not None:
                with contextlib.suppress(psycopg.Error):
                    self._connection.close()
            self._connection = self._pg = self._transformer = None

    def cut(self) -> None:
        """From any thread: whoever waits on this connection hears at once that it is gone."""
        with self._closing:
            if self._pg is not None:
                hang_up(self._pg)

    def run(self, function: Callable[[PostgresTx], R]) -> R:
        """Run a function in a transaction of its own. Raises Lost, Unsure, Collision, what `explain` makes of other
        trouble, or what the function raises; but for Unsure, nothing was kept then."""
        tx = PostgresTx(self, not self.reads_only)
        try:
            self._plain(b"BEGIN")
            value = function(tx)
        except BaseException as error:
            self._roll_back()
            told = self._explain(error)
            if told is error:
                raise
            raise told from error
        finally:
            tx.end()
        self._commit()
        return value

    def execute(self, sql: str, parameters: dict[str, Value]) -> pq.abc.PGresult:
        statement = translate(sql)
        values, types = encode(statement.names, parameters)
        name = self._prepared.get((sql, types))
        if name is None:
            seen = self._seen[sql] = self._seen.get(sql, 0) + 1
            if seen <= PREPARED_AT:
                if len(self._seen) > 4 * MAX_PREPARED:
                    self._seen.clear()
                return self._check(self._pg.exec_params(statement.sql, values, types, [BINARY] * len(values), BINARY))
            name = self._prepare(sql, statement.sql, types)
        return self._check(self._pg.exec_prepared(name, values, [BINARY] * len(values), BINARY))

    def rows(self, result: pq.abc.PGresult) -> list[tuple[Any, ...]]:
        self._transformer.set_pgresult(result)
        rows: list[tuple[Any, ...]] = self._transformer.load_rows(0, result.ntuples, tuple)
        return rows

    def _prepare(self, sql: str, text: bytes, types: tuple[int, ...]) -> bytes:
        if len(self._prepared) >= MAX_PREPARED:
            self._plain(b"DEALLOCATE ALL")
            self._prepared.clear()
        name = b"s%d" % len(self._prepared)
        self._check(self._pg.prepare(name, text, types))
        self._prepared[sql, types] = name
        return name

    def _plain(self, sql: bytes) -> pq.abc.PGresult:
        return self._check(self._pg.exec_(sql))

    def _check(self, result: pq.abc.PGresult) -> pq.abc.PGresult:
        if result.status not in _GOOD:
            raise errors.error_from_result(result)
        return result

    def _commit(self) -> None:
        try:
            done = self._plain(b"COMMIT")
        except psycopg.Error as error:
            told = self._explain(error)
            if isinstance(told, Lost) and not self.reads_only:
                raise Unsure from error
            self._roll_back()
            if told is error:
                raise
            raise told from error
        if done.command_status != b"COMMIT":
            raise RuntimeError("A unit went on after an error of the database; nothing of it was kept.")

    def _roll_back(self) -> None:
        """To a clean connection, or none."""
        if self._pg is None:
            return
        try:
            if self._pg.status != pq.ConnStatus.OK:
                self.close()
            elif self._pg.transaction_status != pq.TransactionStatus.IDLE:
                self._plain(b"ROLLBACK")
        except psycopg.Error:
            self.close()

    def _explain(self, error: BaseException) -> BaseException:
        """What an error means for the unit; its own errors stay what they are."""
        if not isinstance(error, psycopg.Error):
            return error
        state = error.sqlstate or ""  # what libpq says by itself has none: the server was not reached
        is_bad = self._pg is None or self._pg.status != pq.ConnStatus.OK
        if is_bad or not state or state[:2] in ("08", "58") or state in _LEAVING:
            self.close()
            return Lost(str(error))
        if state == "25006" and not self.reads_only:  # this server became a standby: the next connection finds another
            self.close()
            return Lost(str(error))
        if state in ("40001", "40P01"):
            return Collision(str(error))
        if state == "0A000" and "cached plan" in str(error):  # a migration changed a table under a prepared statement
            self.close()
            return Lost(str(error))
        if state == "53100":
            return StorageFull("The database's disk is full, so nothing of this was kept. Free some space there.")
        if state[:2] == "53" or state in ("55P03", "57014"):
            return Unavailable("The database is too busy for this. Try again in a few seconds.", retry_after_s=2)
        return error


def hang_up(pg: pq.abc.PGconn) -> None:
    """End a connection under the thread that waits on it; libpq then finds it closed by the other side."""
    with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(pg.socket)) as end:
        end.shutdown(socket.SHUT_RDWR)


_LEAVING = ("57P01", "57P02", "57P03", "57P05", "25P03")
"""Shutting down, crashed, starting up, and sessions ended for idling."""


def _is_over() -> Lane:
    raise RuntimeError("This transaction is over: use tx only inside the function it was given to.")
