"""One connection to PostgreSQL, the transaction it hands out, and what its errors mean."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

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

    def queue(self, sql: str, **parameters: Value) -> None:
        (self._lane or _is_over()).queue(sql, parameters)

    def lock(self, name: str) -> None:
        lane = self._lane or _is_over()
        if self._locks:
            lane.queue("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))", {"name": name})

    def end(self) -> None:
        self._lane = None


class Order(NamedTuple):
    """A statement as it goes over the wire. name: of a prepared one, else its text is sent; is_new: it is only to be
    prepared under that name."""

    name: bytes
    sql: bytes
    values: list[bytes | None]
    types: tuple[int, ...]
    is_new: bool = False


_BEGIN, _COMMIT, _ROLLBACK, _FORGET = (
    Order(b"", sql, [], ()) for sql in (b"BEGIN", b"COMMIT", b"ROLLBACK", b"DEALLOCATE ALL")
)


class Lane:
    """A connection, opened when it is needed, and what belongs to it; used by one at a time, and cut by any.

    wait: given a descriptor, returns once it has something to read, or, where that is asked, takes more; it lets others
    go on meanwhile."""

    def __init__(self, conninfo: str, *, reads_only: bool, wait: Callable[[int, bool], None]) -> None:
        self.reads_only = reads_only
        self.decoders = Decoders()
        self._conninfo = conninfo
        self._wait = wait
        self._connection: psycopg.Connection[Any] | None = None
        self._pg: Any = None
        self._closing = threading.Lock()
        self._transformer: Any = None
        self._prepared: dict[tuple[str, tuple[int, ...]], bytes] = {}
        self._names = itertools.count()
        self._seen: dict[str, int] = {}
        self._queued: list[Order] = []
        self._owed = 0
        self._is_begun = self._has_failed = False

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    def open(self) -> None:
        """Connect; may block. Raises psycopg.Error."""
        connection = psycopg.connect(self._conninfo, autocommit=True)
        connection.adapters.register_loader("bool", _Flag)
        connection.adapters.register_loader("numeric", _Number)
        try:
            _check(connection.pgconn.exec_(READER_SETUP if self.reads_only else WRITER_SETUP))
            connection.pgconn.enter_pipeline_mode()
        except BaseException:
            connection.close()
            raise
        self._transformer = Transformer(connection)
        self._prepared.clear()
        self._seen.clear()
        self.decoders.clear()
        self._owed, self._is_begun = 0, False
        self._queued = []
        self._connection, self._pg = connection, connection.pgconn

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
        self._queued.append(_BEGIN)
        self._has_failed = False
        try:
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
        """Run what is queued, then this."""
        self.queue(sql, parameters)
        return self._exchange()

    def queue(self, sql: str, parameters: dict[str, Value]) -> None:
        """Run this before the next statement that is asked for, or the commit."""
        self._queued.append(self._order(sql, parameters))

    def rows(self, result: pq.abc.PGresult) -> list[tuple[Any, ...]]:
        self._transformer.set_pgresult(result)
        rows: list[tuple[Any, ...]] = self._transformer.load_rows(0, result.ntuples, tuple)
        return rows

    def _order(self, sql: str, parameters: dict[str, Value]) -> Order:
        """Prepared from the fourth time on, on this connection."""
        statement = translate(sql)
        values, types = encode(statement.names, parameters)
        name = self._prepared.get((sql, types), b"")
        if not name:
            seen = self._seen[sql] = self._seen.get(sql, 0) + 1
            if seen > PREPARED_AT:
                name = self._prepare(sql, statement.sql, types)
            elif len(self._seen) > 4 * MAX_PREPARED:
                self._seen.clear()
        return Order(name, statement.sql, values, types)

    def _prepare(self, sql: str, text: bytes, types: tuple[int, ...]) -> bytes:
        if len(self._prepared) >= MAX_PREPARED:
            self._queued.append(_FORGET)
            self._prepared.clear()
        name = b"s%d" % next(self._names)
        self._queued.append(Order(name, text, [], types, is_new=True))
        self._prepared[sql, types] = name
        return name

    def _unlearn(self, orders: list[Order]) -> None:
        """Whether the server ever came to these is not known: what they were to prepare is prepared anew."""
        doubtful = {order.name for order in orders if order.is_new}
        if doubtful:
            self._prepared = {key: name for key, name in self._prepared.items() if name not in doubtful}

    def _exchange(self) -> pq.abc.PGresult:
        """Send what is queued in one go; the result of the last. Raises psycopg.Error of the first that failed: the
        server passes over those behind it."""
        sent, owed = self._queued, self._owed
        self._send()
        results = self._collect(owed)
        for result in results:
            if result.status not in _GOOD:
                self._has_failed = self._is_begun = True  # a commit behind it was passed over, too
                self._unlearn(sent)
                raise errors.error_from_result(result)
        return results[-1]

    def _send(self) -> None:
        orders, self._queued, self._owed = self._queued, [], 0
        pg = self._pg
        for order in orders:
            if order is _BEGIN:
                self._is_begun = True
            elif order is _COMMIT or order is _ROLLBACK:
                self._is_begun = False
            if order.is_new:
                pg.send_prepare(order.name, order.sql, order.types)
            elif order.name:
                pg.send_query_prepared(order.name, order.values, [BINARY] * len(order.values), BINARY)
            else:
                pg.send_query_params(order.sql, order.values, order.types, [BINARY] * len(order.values), BINARY)
        pg.pipeline_sync()

    def _collect(self, owed: int) -> list[pq.abc.PGresult]:
        """The results of what was sent last. owed: how many syncs come before it; their results are nobody's."""
        pg = self._pg
        while pg.flush():
            self._wait(pg.socket, True)
            pg.consume_input()
        results: list[pq.abc.PGresult] = []
        while True:
            while pg.is_busy():
                self._wait(pg.socket, False)
                pg.consume_input()
            result = pg.get_result()
            if result is None:
                if pg.status != pq.ConnStatus.OK:
                    raise psycopg.OperationalError("the connection was closed")
            elif result.status == pq.ExecStatus.PIPELINE_SYNC:
                if not owed:
                    return results
                owed -= 1
                results = []
            else:
                results.append(result)

    def _commit(self) -> None:
        """Raises Unsure when nobody can know whether it was kept. A function that asked nothing kept nothing.

        What was only read is known already: the end of its transaction goes with the next one, or with `rest`."""
        if self._has_failed:
            self._roll_back()
            raise RuntimeError("A unit went on after an error of the database; nothing of it was kept.")
        if self._queued and self._queued[-1] is _BEGIN:
            self._queued.pop()
            return
        is_known = self.reads_only and not self._queued
        self._queued.append(_COMMIT)
        if is_known:
            return
        try:
            self._exchange()
        except psycopg.Error as error:
            told = self._explain(error)
            if isinstance(told, Lost) and not self.reads_only:
                raise Unsure from error
            self._roll_back()
            if told is error:
                raise
            raise told from error

    def rest(self) -> None:
        """Nobody uses this lane for a while: end what was only read."""
        if self._queued and self._pg is not None:
            with contextlib.suppress(psycopg.Error):  # whoever uses it next finds out
                self._send()
                self._owed = 1

    def _roll_back(self) -> None:
        """To a clean connection, or none."""
        self._unlearn(self._queued)
        self._queued = []
        if self._pg is None or not self._is_begun:
            return
        try:
            if self._pg.status != pq.ConnStatus.OK:
                self.close()
            else:
                self._queued = [_ROLLBACK]
                self._exchange()
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


def _check(result: pq.abc.PGresult) -> None:
    if result.status not in _GOOD:
        raise errors.error_from_result(result)


def hang_up(pg: pq.abc.PGconn) -> None:
    """End a connection under the thread that waits on it; libpq then finds it closed by the other side."""
    with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(pg.socket)) as end:
        end.shutdown(socket.SHUT_RDWR)


_LEAVING = ("57P01", "57P02", "57P03", "57P05", "25P03")
"""Shutting down, crashed, starting up, and sessions ended for idling."""


def _is_over() -> Lane:
    raise RuntimeError("This transaction is over: use tx only inside the function it was given to.")
