"""The one thread that writes: whatever is queued becomes one transaction, each unit of it in a savepoint."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from typing import Any

from chatserver.clock import monotonic_s
from chatserver.domain.figures import Counter, Distribution, Figure, Gauge
from chatserver.store.disk import Reserve
from chatserver.store.lane import Lane, explain, is_broken, primary_code, storage_full
from chatserver.store.mailbox import Mailbox, Outcome

MAX_BATCH = 512
MAX_BATCH_S = 0.05
"""After this long a batch takes no more units in, so that its first one is not kept waiting for the commit."""
RETRY_FULL_S = 1.0
COMMIT_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

log = logging.getLogger(__name__)


class Unit:
    """One function queued, and where its result goes. alone: outside any transaction, given the bare connection."""

    __slots__ = ("alone", "error", "essential", "function", "future", "mailbox", "value")

    def __init__(
        self,
        function: Callable[[Any], Any],
        future: asyncio.Future[Any],
        mailbox: Mailbox,
        *,
        essential: bool = False,
        alone: bool = False,
    ) -> None:
        self.function = function
        self.future = future
        self.mailbox = mailbox
        self.essential = essential
        self.alone = alone
        self.value: Any = None
        self.error: BaseException | None = None


Queue = SimpleQueue[Unit | None]
"""Units in order; None means: finish what came before, then end."""


def post(units: Iterable[Unit]) -> None:
    """Hand results back, one wake-up per event loop."""
    letters: dict[Mailbox, list[Outcome]] = {}
    for unit in units:
        letters.setdefault(unit.mailbox, []).append((unit.future, unit.value, unit.error))
    for mailbox, outcomes in letters.items():
        mailbox.post(outcomes)


class Writer:
    """reserve: held back for essential units once the disk is full; None when another process keeps it."""

    def __init__(self, lane: Lane, reserve: Reserve | None) -> None:
        self.queue: Queue = SimpleQueue()
        self._lane = lane
        self._reserve = reserve
        self._held: list[Unit | None] = []
        self._kept = Counter("chatserver_writer_units_total", "Units of writing that were committed")
        self._commit = Distribution(
            "chatserver_writer_batch_seconds", "From a batch's begin to its commit", bounds=COMMIT_S
        )
        waiting = Gauge("chatserver_writer_queue", "Units of writing that wait for their turn", self.queue.qsize)
        is_full = Gauge("chatserver_disk_full", "1 while only essential writes are taken", lambda: int(self._is_full))
        self.figures: list[Figure] = [self._kept, self._commit, waiting, is_full]
        self._asked_disk_at = self._logged_at = monotonic_s() - RETRY_FULL_S
        self._is_full = reserve is not None and not reserve.hold()
        if self._is_full:
            self._log("The disk has no room for the reserve beside %s: only essential writes go on.", lane.path)

    def run(self) -> None:
        """The thread's life: until None is taken from the queue."""
        while (unit := self._held.pop() if self._held else self.queue.get()) is not None:
            if unit.alone:
                self._run_alone(unit)
            else:
                self._run_batch([unit], is_open=True)

    def _run_alone(self, unit: Unit) -> None:
        try:
            unit.value = unit.function(self._lane.connection)
        except BaseException as error:  # whatever it was, the waiter hears of it and this thread goes on
            with contextlib.suppress(sqlite3.Error):
                self._lane.roll_back()
            unit.error = explain(error)
        post([unit])

    def _run_batch(self, units: list[Unit], *, is_open: bool) -> None:
        """Run, commit, then answer. is_open: take in what arrives meanwhile."""
        if self._is_full:
            self._ask_disk()
        connection = self._lane.connection
        began_s = monotonic_s()
        until_s = began_s + MAX_BATCH_S
        try:
            connection.execute("BEGIN IMMEDIATE")
            for unit in units:  # the list grows below
                self._run_unit(unit)
                if is_open and len(units) < MAX_BATCH and monotonic_s() < until_s:
                    is_open = self._take_in(units)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._lose(units, error)
        else:
            post(units)
            self._kept.add(len(units))
            self._commit.observe(monotonic_s() - began_s)

    def _take_in(self, units: list[Unit]) -> bool:
        """Add the next queued unit, if one is there. Returns whether the batch may still grow."""
        if self.queue.empty():
            return True
        unit = self.queue.get()
        if unit is None or unit.alone:
            self._held.append(unit)
            return False
        units.append(unit)
        return True

    def _run_unit(self, unit: Unit) -> None:
        """Leaves the unit's value or error on it; raises sqlite3.Error when the whole transaction is in doubt."""
        unit.value = unit.error = None
        if self._is_full and not unit.essential:
            unit.error = storage_full()
            return
        connection = self._lane.connection
        connection.execute("SAVEPOINT unit")
        tx = self._lane.begin()
        try:
            unit.value = unit.function(tx)
        except BaseException as error:  # a unit is a guest: whatever it raises goes to whoever waits for it
            if is_broken(error):
                raise
            unit.error = error
            connection.execute("ROLLBACK TO unit")
        finally:
            tx.end()
        connection.execute("RELEASE unit")

    def _lose(self, units: list[Unit], error: sqlite3.Error) -> None:
        """The transaction is gone, for all its units. Units may run again, so some get a second chance."""
        with contextlib.suppress(sqlite3.Error):
            self._lane.roll_back()
        code = primary_code(error)
        again: list[Unit] = []
        if code == sqlite3.SQLITE_FULL and self._reserve is not None and not self._is_full:
            self._is_full = True
            self._asked_disk_at = monotonic_s()
            self._reserve.release()
            self._log("The disk is full: the reserve beside %s now serves essential writes only.", self._lane.path)
            again = [unit for unit in units if unit.essential]
            units = [unit for unit in units if not unit.essential]
        elif isinstance(error, sqlite3.IntegrityError) and len(units) > 1:  # a deferred rule: find whose it was
            for unit in units:
                self._run_batch([unit], is_open=False)
            return
        elif is_broken(error) and code not in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY):
            self._lane.reopen()
        if code != sqlite3.SQLITE_FULL:
            self._log("A batch of %d writes was not kept: %s", len(units), error)
        answer = explain(error)
        for unit in units:
            unit.value, unit.error = None, answer
        post(units)
        if again:
            self._run_batch(again, is_open=False)

    def _ask_disk(self) -> None:
        """Once a second while full: is there room for the reserve again? Then everything goes on as before."""
        now = monotonic_s()
        if self._reserve is None or now - self._asked_disk_at < RETRY_FULL_S:
            return
        self._asked_disk_at = now
        connection = self._lane.connection
        with contextlib.suppress(sqlite3.Error):
            timeout = connection.execute("PRAGMA busy_timeout").fetchone()[0]
            connection.execute("PRAGMA busy_timeout=0")  # not a moment's wait for readers
            try:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            finally:
                connection.execute(f"PRAGMA busy_timeout={timeout}")
        if self._reserve.hold():
            self._is_full = False
            self._log("The disk has room again: %s takes all writes.", self._lane.path)

    def _log(self, message: str, *values: object) -> None:
        """At most a line a second, whatever happens to the disk."""
        now = monotonic_s()
        if now - self._logged_at >= 1.0:
            self._logged_at = now
            log.warning(message, *values)
