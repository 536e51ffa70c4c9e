"""Finds out whether a server that is silent is busy or frozen, and lets nobody wait for one that is."""

from __future__ import annotations

import contextlib
import select
import threading
from collections.abc import Sequence
from typing import Any

import psycopg

from chatserver import clock
from chatserver_postgres.crew import Crew

TICK_S = 0.5
SILENT_S = 2.0
"""How long a unit may take before the server is asked whether it is there at all."""
ANSWER_S = 4.0
"""A server that does not answer `SELECT 1` for this long is frozen, or out of reach."""


class Watch:
    """A thread. A statement may take as long as it likes while the server answers; when it does not, all are told."""

    def __init__(self, conninfo: str, crews: Sequence[Crew]) -> None:
        self._conninfo = conninfo
        self._crews = crews
        self._connection: psycopg.Connection[Any] | None = None
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name="postgres-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Blocking."""
        self._is_closed.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._is_closed.wait(TICK_S):
            if max(crew.longest_wait_s() for crew in self._crews) >= SILENT_S and not self._answers():
                for crew in self._crews:
                    crew.give_up()
        self._let_go()

    def _answers(self) -> bool:
        try:
            if self._connection is None:
                self._connection = psycopg.connect(self._conninfo, autocommit=True)
            if _is_alive(self._connection):
                return True
        except psycopg.Error:
            pass
        self._let_go()
        return False

    def _let_go(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                self._connection.close()
            self._connection = None


def _is_alive(connection: psycopg.Connection[Any]) -> bool:
    """Raises psycopg.Error when the connection turns out to be gone."""
    pg = connection.pgconn
    pg.send_query(b"SELECT 1")
    ready = select.poll()
    ready.register(pg.socket, select.POLLIN)
    until_s = clock.monotonic_s() + ANSWER_S
    while pg.is_busy():
        left_s = until_s - clock.monotonic_s()
        # An answer that came while we were the frozen ones is seen once more before anybody is blamed.
        heard = ready.poll(max(0.0, left_s) * 1_000)
        if not heard and left_s <= 0:
            return False
        pg.consume_input()
    while pg.get_result() is not None:
        pass
    return True
