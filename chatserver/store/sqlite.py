"""The SQLite engine: one thread writes and commits whatever is queued, a few threads read beside it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from chatserver.domain.figures import Figure
from chatserver.errors import SetupError, StorageFull, Unavailable
from chatserver.store import migrations
from chatserver.store.database import Tx
from chatserver.store.disk import FULL, RESERVE_BYTES, Reserve, network_filesystem
from chatserver.store.lane import Lane, connect, explain, is_broken, primary_code
from chatserver.store.mailbox import Mailbox
from chatserver.store.sqlite_tables import tables_in
from chatserver.store.writer import Queue, Unit, Writer, post

R = TypeVar("R")
READERS = 4
WORDS = {"bytes": "BLOB", "identity": "INTEGER PRIMARY KEY AUTOINCREMENT"}
BACKUPS = "backups"
SWITCH_INTERVAL_S = 0.0005
"""Every row read gives the GIL away once; at Python's 5 ms a read of 40 rows beside a busy loop took 2 s, so 0.6 ms."""

log = logging.getLogger(__name__)


class SqliteDatabase:
    """A database file, open. Used from any event loop; close() it, or the next start takes it for a crash."""

    engine = "sqlite"
    is_shared = False

    def __init__(self, path: Path, writer_lane: Lane, reader_lanes: list[Lane], reserve: Reserve | None) -> None:
        self.path = path
        self._lanes = [*reader_lanes, writer_lane]
        self._reserve = reserve
        self._writer = Writer(writer_lane, reserve)
        self._reads: Queue = SimpleQueue()
        self._mailbox: Mailbox | None = None
        self._is_closed = False
        self._writing = threading.Thread(target=self._writer.run, name="sqlite-writer", daemon=True)
        self._reading = [
            threading.Thread(target=_read_queued, args=(self._reads, lane), name=f"sqlite-reader-{number}", daemon=True)
            for number, lane in enumerate(reader_lanes)
        ]
        for thread in (self._writing, *self._reading):
            thread.start()

    @classmethod
    def open(
        cls, path: Path, *, readers: int = READERS, alone: bool = True, reserve_bytes: int = RESERVE_BYTES
    ) -> SqliteDatabase:
        """Open or create the file at `path`. Blocking; takes no lock (see lock.py) and runs no migration.

        alone: False beside a running server, whose reserve and health are not ours to touch. Raises SetupError when
        the file is damaged, not a database or cannot be opened.
        """
        path = path.absolute()
        sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_INTERVAL_S))
        lanes: list[Lane] = []
        try:
            _create(path)
            was_cut = alone and _size(path.with_name(path.name + "-wal")) > 0
            for number in range(readers + 1):
                lanes.append(Lane(path, reads_only=number > 0))
            if was_cut:
                _check(path, lanes[0].connection)
        except (sqlite3.Error, OSError, SetupError) as error:
            for lane in lanes:
                lane.connection.close()
            if isinstance(error, SetupError):
                raise
            raise SetupError(f"The database {path} cannot be opened: {error}. Check file and folder.") from error
        if kind := network_filesystem(path.parent):
            log.warning(
                "%s lies on a network filesystem (%s), where SQLite may lose or damage data. Move it to a local disk.",
                path,
                kind,
            )
        reserve = Reserve(path.with_name(path.name + ".reserve"), reserve_bytes) if alone else None
        return cls(path, lanes[0], lanes[1:], reserve)

    @property
    def figures(self) -> list[Figure]:
        """What the writer counts."""
        return self._writer.figures

    async def read(self, function: Callable[[Tx], R]) -> R:
        result: R = await self._send(self._reads, function)
        return result

    async def hold(self, function: Callable[[Tx], R]) -> R:
        self._check_open()
        return await asyncio.to_thread(_hold, self.path, function)

    async def write(self, function: Callable[[Tx], R], *, essential: bool = False) -> R:
        result: R = await self._send(self._writer.queue, function, essential=essential)
        return result

    async def migrate(self, sets: migrations.Sets) -> list[str]:
        """See Database.migrate. A database with something in it is copied to `backups/` first, if anything will run."""
        titles: list[str] = await self._send(
            self._writer.queue, lambda connection: self._migrate(connection, sets), alone=True
        )
        return titles

    async def plan(self, sets: migrations.Sets) -> list[str]:
        """What migrate would run, as `set/name`; raises what it would raise."""
        steps: list[migrations.Step] = await self._send(
            self._writer.queue, lambda connection: plan_steps(self.path, connection, sets), alone=True
        )
        return [step.title for step in steps]

    async def backup(self, target: Path) -> None:
        """A consistent copy of the database in one file at `target`, made while reads and writes go on."""
        await asyncio.to_thread(copy_database, self.path, target)

    async def close(self) -> None:
        """Finish what is queued, then close. What comes later is refused with Unavailable."""
        if not self._is_closed:
            self._is_closed = True
            await asyncio.to_thread(self._end)

    def _end(self) -> None:
        for _ in self._reading:
            self._reads.put(None)
        self._writer.queue.put(None)
        for thread in (*self._reading, self._writing):
            thread.join()
        for lane in self._lanes:  # the writer's last: it takes the WAL away
            with contextlib.suppress(sqlite3.Error):
                lane.connection.close()
        if self._reserve is not None:
            self._reserve.release()

    def _send(
        self, queue: Queue, function: Callable[[Any], Any], *, essential: bool = False, alone: bool = False
    ) -> asyncio.Future[Any]:
        self._check_open()
        loop = asyncio.get_running_loop()
        mailbox = self._mailbox
        if mailbox is None or mailbox.loop is not loop:
            mailbox = self._mailbox = Mailbox(loop)
        future: asyncio.Future[Any] = loop.create_future()
        queue.put(Unit(function, future, mailbox, essential=essential, alone=alone))
        return future

    def _check_open(self) -> None:
        if self._is_closed:
            raise Unavailable("The database is closed; the server is stopping.", retry_after_s=5)

    def _migrate(self, connection: sqlite3.Connection, sets: migrations.Sets) -> list[str]:
        steps = plan_steps(self.path, connection, sets)
        if not steps:
            return []
        copy: Path | None = None
        if tables_in(connection):
            copy = self.path.parent / BACKUPS / _copy_name(self.path, steps[0])
            copy_database(self.path, copy)
            log.info("The database was copied to %s before migrating.", copy)
        lane = self._lanes[-1]
        for step in steps:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("PRAGMA defer_foreign_keys=ON")
            connection.execute(migrations.CREATE)
            tx = lane.begin()
            try:
                migrations.apply(tx, step)
                connection.execute("COMMIT")
            except sqlite3.Error as error:
                lane.roll_back()
                if is_broken(error):
                    raise
                kept = f" A copy from before is {copy}." if copy else ""
                raise SetupError(
                    f"The migration {step.title} failed and left nothing behind: {error}.{kept}"
                    f" Mend it, or run the version before."
                ) from error
            finally:
                tx.end()
        return [step.title for step in steps]


def _read_queued(queue: Queue, lane: Lane) -> None:
    """A reader thread's life: each unit sees one snapshot."""
    while (unit := queue.get()) is not None:
        tx = lane.begin()
        try:
            lane.connection.execute("BEGIN")
            unit.value = unit.function(tx)
        except BaseException as error:  # a unit is a guest: whatever it raises goes to whoever waits for it
            unit.error = explain(error)
        finally:
            tx.end()
        try:
            lane.roll_back()
        except sqlite3.Error as error:
            unit.error = unit.error or explain(error)
            lane.reopen()
        post([unit])


def _hold(path: Path, function: Callable[[Tx], R]) -> R:
    """On a connection of its own."""
    lane = Lane(path, reads_only=True)
    tx = lane.begin()
    try:
        lane.connection.execute("BEGIN")
        return function(tx)
    except sqlite3.Error as error:
        raise explain(error) from error
    finally:
        tx.end()
        lane.connection.close()


def _create(path: Path) -> None:
    """The folder and an empty file that only we may read, so that SQLite's own files beside it are like it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return
    os.close(handle)
    sync_folder(path.parent)


def _check(path: Path, connection: sqlite3.Connection) -> None:
    log.info("The database %s was not closed the last time; checking it.", path)
    problems = [str(row[0]) for row in connection.execute("PRAGMA quick_check(3)")]
    if problems != ["ok"]:
        raise SetupError(
            f"The database {path} is damaged: {problems[0].splitlines()[-1]}. Put the newest copy from"
            f" {path.parent / BACKUPS} or a backup of yours in its place."
        )


def plan_steps(path: Path, connection: sqlite3.Connection, sets: migrations.Sets) -> list[migrations.Step]:
    tables = tables_in(connection)
    done: list[migrations.Recorded] = []
    if migrations.TABLE in tables:
        done = [migrations.Recorded(*row) for row in connection.execute(migrations.SELECT)]
    elif tables:
        raise SetupError(f"{path} is another program's database (it has a table {tables[0]!r}). Name another file.")
    return migrations.plan(sets, done, WORDS, engine="sqlite")


def _copy_name(path: Path, step: migrations.Step) -> str:
    """Named by the first step to run: trying again after a failure finds the same database and the same name."""
    return f"{path.stem}-before-{step.set_name}-{step.name}.db"


def copy_database(path: Path, target: Path, finish: Callable[[sqlite3.Connection], None] | None = None) -> None:
    """Copy a database, open or not, into one file; `target` appears whole or not at all. Raises StorageFull.

    finish: what is still to be done to the copy before it appears.
    """
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = target.with_name(target.name + ".part")
    _clear(part)
    os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        with (
            contextlib.closing(connect(path, reads_only=True)) as source,
            contextlib.closing(sqlite3.connect(part)) as copy,
        ):
            copy.execute("PRAGMA synchronous=OFF")  # synced as a whole below
            source.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")
            if finish is not None:
                finish(copy)
        handle = os.open(part, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        part.replace(target)
        sync_folder(target.parent)
    except (sqlite3.Error, OSError) as error:
        _clear(part)
        if primary_code(error) == sqlite3.SQLITE_FULL or getattr(error, "errno", 0) in FULL:
            raise StorageFull(f"There is no room for a copy of the database at {target}. Free some space.") from error
        raise
    except BaseException:  # what was still to be done to it did not come to an end
        _clear(part)
        raise


def _clear(part: Path) -> None:
    """Take away a copy that is not complete, with the journal SQLite leaves beside it on a full disk."""
    for one in (part, part.with_name(part.name + "-journal")):
        one.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
