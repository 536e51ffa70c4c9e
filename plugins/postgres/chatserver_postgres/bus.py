"""Wake-ups by NOTIFY: a thread that sends what piled up, and one that listens; both come back when the server does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import select
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any

import psycopg

from chatserver import Wake, clock, pack_wakes, unpack_wakes
from chatserver_postgres.lane import conninfo_of, hang_up

Connection = psycopg.Connection[Any]
CHANNEL = "chatserver"
MAX_PAYLOAD_BYTES = 7_900
"""PostgreSQL takes payloads below 8,000 bytes."""
PAUSE_S = 0.5
GATHER_S = 0.01
"""What comes within this time of the last message goes with the next one."""
GOODBYE_S = 1.0
MAX_WAITING = 10_000

log = logging.getLogger(__name__)


class NotifyBus:
    """Made on the event loop that is to hear. What cannot be sent now is dropped: every node also looks by itself."""

    def __init__(self, url: str) -> None:
        self._conninfo = conninfo_of(url)
        self._node = clock.new_id()
        self._loop = asyncio.get_running_loop()
        self._hear: list[Callable[[Sequence[Wake]], None]] = []
        self._waiting: dict[str, int] = {}
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._connections: list[Connection] = []
        self._is_over = threading.Event()
        self._woken, self._waker = socket.socketpair()
        self._threads = [
            threading.Thread(target=self._keep, args=(self._send_all,), name="postgres-notify", daemon=True),
            threading.Thread(target=self._keep, args=(self._listen,), name="postgres-listen", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def listen(self, hear: Callable[[Sequence[Wake]], None]) -> None:
        self._hear.append(hear)

    def send(self, wakes: Sequence[Wake]) -> None:
        with self._lock:
            for turn_id, seq in wakes:
                if len(self._waiting) < MAX_WAITING:
                    # a stop, which is 0, must not hide behind a number
                    self._waiting[turn_id] = 0 if self._waiting.get(turn_id) == 0 else seq
        self._news.set()

    async def close(self) -> None:
        self._is_over.set()
        self._news.set()
        self._waker.send(b"x")
        await asyncio.to_thread(self._join)
        self._woken.close()
        self._waker.close()

    def _join(self) -> None:
        until_s = clock.monotonic_s() + GOODBYE_S
        for thread in self._threads:
            thread.join(max(0.0, until_s - clock.monotonic_s()))
        with self._lock:
            for connection in self._connections:  # a server that is frozen is not waited for
                hang_up(connection.pgconn)
        for thread in self._threads:
            thread.join()

    def _keep(self, work: Callable[[Connection], None]) -> None:
        """A thread's life: connect, work until the connection breaks, again."""
        while not self._is_over.is_set():
            with (
                contextlib.suppress(psycopg.Error),
                psycopg.connect(self._conninfo, autocommit=True) as connection,
            ):
                self._connections.append(connection)
                try:
                    work(connection)
                finally:
                    with self._lock:
                        self._connections.remove(connection)
            self._is_over.wait(PAUSE_S)

    def _send_all(self, connection: Connection) -> None:
        connection.execute("SET synchronous_commit = off")  # a hint need not reach the disk
        while True:
            self._news.wait()
            self._news.clear()
            if self._is_over.is_set():
                return
            with self._lock:
                waiting, self._waiting = self._waiting, {}
            if waiting:
                for payload in pack_wakes(self._node, waiting, MAX_PAYLOAD_BYTES):
                    connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, payload))
                self._is_over.wait(GATHER_S)

    def _listen(self, connection: Connection) -> None:
        connection.execute(f"LISTEN {CHANNEL}")
        pgconn = connection.pgconn
        ready = select.poll()  # select() takes no descriptor above 1,023, and a thousand readers are as many files
        ready.register(pgconn.socket, select.POLLIN)
        ready.register(self._woken, select.POLLIN)
        while not self._is_over.is_set():
            ready.poll()
            pgconn.consume_input()
            heard: dict[str, int] = {}
            while (notice := pgconn.notifies()) is not None:
                node, wakes = unpack_wakes(notice.extra.decode("utf-8", "replace"))
                if node != self._node:
                    for turn_id, seq in wakes:
                        heard[turn_id] = 0 if heard.get(turn_id) == 0 else seq
            if heard:
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody hears any more
                    self._loop.call_soon_threadsafe(self._tell, list(heard.items()))

    def _tell(self, wakes: list[Wake]) -> None:
        for hear in self._hear:
            hear(wakes)
