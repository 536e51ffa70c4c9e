"""Threads with a connection each that work off one queue of units, and the door at which they connect."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

import psycopg

from chatserver import Unavailable, clock
from chatserver_postgres.lane import Collision, Lane, Lost, Unsure

PATIENCE_S = 4.0
"""How long a unit waits for a server that is away before its caller is told to come back."""
KNOCK_S = 0.1
"""How long nobody tries to connect after somebody failed to."""
MAX_COLLISIONS = 30

log = logging.getLogger(__name__)


class Unit:
    """One function queued, since when, until when it may wait for the server, and whose it is. is_given_up: its caller
    was told to come back, so it must not begin any more."""

    __slots__ = ("function", "future", "is_given_up", "loop", "since_s", "until_s")

    def __init__(self, function: Callable[[Any], Any], future: asyncio.Future[Any]) -> None:
        self.function = function
        self.future = future
        self.loop = future.get_loop()
        self.since_s = clock.monotonic_s()
        self.until_s = self.since_s + PATIENCE_S
        self.is_given_up = False

    def settle(self, value: Any, error: BaseException | None) -> None:
        """From any thread. A caller who left is passed over."""
        try:
            self.loop.call_soon_threadsafe(self._deliver, value, error)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return

    def _deliver(self, value: Any, error: BaseException | None) -> None:
        if self.future.done():
            return
        if error is None:
            self.future.set_result(value)
        elif isinstance(error, StopIteration):  # a future refuses this one
            self.future.set_exception(RuntimeError("A unit raised StopIteration."))
        else:
            self.future.set_exception(error)


class Door:
    """Where lanes connect, one at a time: while the server is away one knocks, and the others hear that it is."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._refused_at = clock.monotonic_s() - KNOCK_S
        self._is_away = False

    def open(self, lane: Lane) -> None:
        """Raises Lost when there is no server to be had now."""
        with self._lock:
            if self._is_away and clock.monotonic_s() - self._refused_at < KNOCK_S:
                raise Lost("the server is away")
            try:
                lane.open()
            except psycopg.Error as error:
                self._refused_at = clock.monotonic_s()
                if not self._is_away:
                    log.warning("The database is away: %s", " ".join(str(error).split()))
                self._is_away = True
                raise Lost(str(error)) from error
            if self._is_away:
                log.warning("The database is back.")
            self._is_away = False


class Crew:
    """Up to `size` threads that work off one queue, each with a lane of its own; started when all others are busy."""

    def __init__(self, name: str, size: int, conninfo: str, door: Door, *, reads_only: bool) -> None:
        self._name = name
        self._size = size
        self._conninfo = conninfo
        self._door = door
        self._reads_only = reads_only
        self._tickets: SimpleQueue[bool] = SimpleQueue()
        self._urgent: SimpleQueue[Unit] = SimpleQueue()
        self._queue: SimpleQueue[Unit] = SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0
        self._threads: list[threading.Thread] = []
        self._lanes: list[Lane] = []
        self._pending: set[Unit] = set()

    def submit(self, unit: Unit, *, is_urgent: bool = False) -> None:
        """is_urgent: before all that waits."""
        self._pending.add(unit)
        (self._urgent if is_urgent else self._queue).put(unit)
        self._tickets.put(True)
        if len(self._threads) < self._size and self._tickets.qsize() > self._idle:
            with self._lock:
                if len(self._threads) < self._size:
                    name = f"{self._name}-{len(self._threads)}"
                    thread = threading.Thread(target=self._work, name=name, daemon=True)
                    self._threads.append(thread)
                    thread.start()

    @property
    def size(self) -> int:
        return len(self._threads)

    @property
    def limit(self) -> int:
        return self._size

    @property
    def busy(self) -> int:
        return max(0, len(self._threads) - self._idle)

    @property
    def queued(self) -> int:
        return self._tickets.qsize()

    def longest_wait_s(self) -> float:
        """Of all units, queued or begun."""
        now = clock.monotonic_s()
        return max((now - unit.since_s for unit in list(self._pending)), default=0.0)

    def give_up(self) -> None:
        """The server does not answer: whoever waited long enough is told so, and no thread waits for it any longer."""
        now = clock.monotonic_s()
        for unit in list(self._pending):
            if now >= unit.until_s:
                unit.is_given_up = True
                unit.settle(None, away())
        for lane in list(self._lanes):
            lane.cut()

    def close(self) -> None:
        """Finish what is queued; blocking."""
        for _ in self._threads:
            self._tickets.put(False)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        lane = Lane(self._conninfo, reads_only=self._reads_only)
        self._lanes.append(lane)
        while (unit := self._next()) is not None:
            try:
                value = self._run(lane, unit)
            except BaseException as error:  # a unit is a guest: whatever it raises goes to whoever waits for it
                unit.settle(None, error)
            else:
                unit.settle(value, None)
            self._pending.discard(unit)
            unit = None
        lane.close()

    def _next(self) -> Unit | None:
        """None: there will be no more. A ticket stands for one unit, in whichever queue."""
        with self._lock:
            self._idle += 1
        is_unit = self._tickets.get()
        with self._lock:
            self._idle -= 1
        if not is_unit:
            return None
        try:
            return self._urgent.get_nowait()
        except Empty:
            return self._queue.get()

    def _run(self, lane: Lane, unit: Unit) -> Any:
        collisions = 0
        while True:
            if unit.is_given_up:
                raise away()
            try:
                if not lane.is_open:
                    self._door.open(lane)
                return lane.run(unit.function)
            except Lost as error:
                if clock.monotonic_s() >= unit.until_s:
                    raise away() from error
                time.sleep(KNOCK_S / 2)
            except Unsure as error:
                raise away() from error
            except Collision as error:
                collisions += 1
                if collisions > MAX_COLLISIONS:
                    raise Unavailable("Too many want this at once. Try again.", retry_after_s=1) from error
                time.sleep(random.uniform(0, 0.002 * min(collisions, 10)))


def away() -> Unavailable:
    return Unavailable("The database cannot be reached. Try again in a few seconds.", retry_after_s=2)
