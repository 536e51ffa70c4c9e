"""Lanes that work off one queue of units, and the door at which they connect."""

from __future__ import annotations

import asyncio
import logging
import random
import select
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import psycopg
from greenlet import getcurrent, greenlet

from chatserver import Mailbox, Tx, Unavailable, clock
from chatserver_postgres.hub import Hub
from chatserver_postgres.lane import Collision, Lane, Lost, Unsure

R = TypeVar("R")
PATIENCE_S = 4.0
"""How long a unit waits for a server that is away before its caller is told to come back."""
KNOCK_S = 0.1
"""How long nobody tries to connect after somebody failed to."""
CROWDED_S = 5.0
"""How long no further lane is opened after the server let in no more of them."""
MAX_COLLISIONS = 30

log = logging.getLogger(__name__)


class Unit:
    """One function queued, since when, until when it may wait for the server, and whose it is. is_given_up: its caller
    was told to come back, so it must not begin any more."""

    __slots__ = ("function", "future", "is_given_up", "mailbox", "since_s", "until_s")

    def __init__(self, function: Callable[[Any], Any], future: asyncio.Future[Any], mailbox: Mailbox) -> None:
        self.function = function
        self.future = future
        self.mailbox = mailbox
        self.since_s = clock.monotonic_s()
        self.until_s = self.since_s + PATIENCE_S
        self.is_given_up = False

    def settle(self, value: Any, error: BaseException | None) -> None:
        """From any thread."""
        self.mailbox.post([(self.future, value, error)])


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
    """Up to `size` lanes that work off one queue in one thread; opened when all others are busy."""

    def __init__(self, name: str, size: int, conninfo: str, door: Door, *, reads_only: bool) -> None:
        self._size = size
        self._conninfo = conninfo
        self._door = door
        self._hub = Hub(name)
        self._reads_only = reads_only
        self._urgent: deque[Unit] = deque()
        self._queue: deque[Unit] = deque()
        self._pending: set[Unit] = set()
        self._lanes: list[Lane] = []
        self._idle: list[greenlet] = []
        self._crowded_until_s = clock.monotonic_s()
        self._is_called = False
        self._is_closed = False
        self._is_over = threading.Event()

    def submit(self, unit: Unit, *, is_urgent: bool = False) -> None:
        """is_urgent: before all that waits."""
        self._pending.add(unit)
        (self._urgent if is_urgent else self._queue).append(unit)
        if not self._is_called:
            self._is_called = True
            self._hub.call(self._assign)

    @property
    def size(self) -> int:
        return len(self._lanes)

    @property
    def limit(self) -> int:
        return self._size

    @property
    def busy(self) -> int:
        return max(0, len(self._lanes) - len(self._idle))

    @property
    def queued(self) -> int:
        return len(self._urgent) + len(self._queue)

    def longest_wait_s(self) -> float:
        """Of all units, queued or begun."""
        now = clock.monotonic_s()
        return max((now - unit.since_s for unit in list(self._pending)), default=0.0)

    def give_up(self) -> None:
        """The server does not answer: whoever waited long enough is told so, and no lane waits for it any longer."""
        now = clock.monotonic_s()
        for unit in list(self._pending):
            if now >= unit.until_s:
                unit.is_given_up = True
                unit.settle(None, away())
        for lane in list(self._lanes):
            lane.cut()

    def close(self) -> None:
        """Finish what is queued; blocking."""
        self._hub.call(self._end)
        self._is_over.wait()
        self._hub.close()

    def _assign(self) -> None:
        """Somebody for each unit that waits, as far as there are lanes; who comes too late rests again."""
        self._is_called = False
        wanted = self.queued
        while wanted and self._idle:
            self._hub.resume(self._idle.pop())
            wanted -= 1
        is_crowded = bool(self._lanes) and clock.monotonic_s() < self._crowded_until_s
        for _ in range(0 if is_crowded else min(wanted, self._size - len(self._lanes))):
            lane = Lane(self._conninfo, reads_only=self._reads_only, wait=self._hub.wait)
            self._lanes.append(lane)
            self._hub.start(partial(self._work, lane))

    def _end(self) -> None:
        self._is_closed = True
        while self._idle:
            self._hub.resume(self._idle.pop())
        if not self._lanes:
            self._is_over.set()

    def _work(self, lane: Lane) -> None:
        while (unit := self._next(lane)) is not None:
            try:
                value = self._run(lane, unit)
            except _Crowded:
                self._crowded_until_s = clock.monotonic_s() + CROWDED_S
                self._urgent.appendleft(unit)
                break
            except BaseException as error:  # a unit is a guest: whatever it raises goes to whoever waits for it
                unit.settle(None, error)
            else:
                unit.settle(value, None)
            self._pending.discard(unit)
            unit = value = None
        lane.close()
        self._lanes.remove(lane)
        self._assign()
        if not self._lanes:
            self._is_over.set()

    def _next(self, lane: Lane) -> Unit | None:
        """None: there will be no more."""
        while True:
            if self._urgent:
                return self._urgent.popleft()
            if self._queue:
                return self._queue.popleft()
            if self._is_closed:
                return None
            lane.rest()
            self._idle.append(getcurrent())
            self._hub.rest()

    def _run(self, lane: Lane, unit: Unit) -> Any:
        collisions = 0
        while True:
            if unit.is_given_up:
                raise away()
            try:
                if not lane.is_open:
                    self._open(lane)
                return lane.run(unit.function)
            except Lost as error:
                if clock.monotonic_s() >= unit.until_s:
                    raise away() from error
                self._hub.pause(KNOCK_S / 2)
            except Unsure as error:
                raise away() from error
            except Collision as error:
                collisions += 1
                if collisions > MAX_COLLISIONS:
                    raise Unavailable("Too many want this at once. Try again.", retry_after_s=1) from error
                self._hub.pause(random.uniform(0, 0.002 * min(collisions, 10)))

    def _open(self, lane: Lane) -> None:
        """Raises Lost, or _Crowded where the server let others of us in."""
        try:
            self._hub.aside(partial(self._door.open, lane))
        except Lost as error:
            if any(other.is_open for other in self._lanes):
                raise _Crowded from error
            raise


def hold(conninfo: str, function: Callable[[Tx], R]) -> R:
    """Run a function that reads on a connection of its own; blocking. Raises Unavailable when that breaks."""
    lane = Lane(conninfo, reads_only=True, wait=_block)
    try:
        lane.open()
    except psycopg.Error as error:
        raise away() from error
    try:
        return lane.run(function)
    except (Lost, Collision) as error:
        raise away() from error
    finally:
        lane.close()


def _block(descriptor: int, or_takes_more: bool) -> None:
    poller = select.poll()
    poller.register(descriptor, select.POLLIN | select.POLLOUT if or_takes_more else select.POLLIN)
    poller.poll()


class _Crowded(Exception):
    """There are lanes, and no more of them are to be had."""


def away() -> Unavailable:
    return Unavailable("The database cannot be reached. Try again in a few seconds.", retry_after_s=2)
