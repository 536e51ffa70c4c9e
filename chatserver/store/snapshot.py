"""A database as it was at one moment, held while others write on: what is read in many steps is of one piece."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from chatserver.errors import ChatserverError, Unavailable
from chatserver.store.database import Database, Tx
from chatserver.store.migrations import Sets

R = TypeVar("R")
KEEP_AWAKE_S = 20.0
"""A server may end a transaction that asks for nothing for long."""


class Snapshot:
    """What a copy needs of a database to read from: every read sees the same moment. After an error it is over."""

    def __init__(self, db: Database) -> None:
        self.engine = db.engine
        self.is_shared = db.is_shared
        self._db = db
        self._loop = asyncio.get_running_loop()
        self._asked: SimpleQueue[tuple[Callable[[Any], Any], asyncio.Future[Any]] | None] = SimpleQueue()
        self._runs = 0
        self._holding = asyncio.ensure_future(db.hold(self._serve))

    async def read(self, function: Callable[[Tx], R]) -> R:
        """Raises what the function raises, and Unavailable when the connection broke: the moment is gone with it."""
        answer: asyncio.Future[R] = self._loop.create_future()
        self._asked.put((function, answer))
        both: set[asyncio.Future[Any]] = {answer, self._holding}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            await self._holding
            raise Unavailable("This view of the database is closed.")
        return answer.result()

    async def plan(self, sets: Sets) -> list[str]:
        return await self._db.plan(sets)

    async def close(self) -> None:
        self._asked.put(None)
        with contextlib.suppress(ChatserverError):  # whoever read was told
            await self._holding

    def _serve(self, tx: Tx) -> None:
        """One long unit: it answers until it is told that nothing more is asked."""
        self._runs += 1
        if self._runs > 1:  # the engine began anew, which would be another moment
            raise Unavailable("The connection to the database broke on the way. Begin again.", retry_after_s=5)
        while True:
            try:
                asked = self._asked.get(timeout=KEEP_AWAKE_S)
            except Empty:
                tx.one(int, "SELECT 1")
                continue
            if asked is None:
                return
            function, answer = asked
            self._loop.call_soon_threadsafe(_settle, answer, function(tx))


def _settle(answer: asyncio.Future[Any], value: Any) -> None:
    if not answer.done():
        answer.set_result(value)


@contextlib.asynccontextmanager
async def hold_snapshot(db: Database) -> AsyncIterator[Snapshot]:
    """Of the moment of the first read."""
    snapshot = Snapshot(db)
    try:
        yield snapshot
    finally:
        await snapshot.close()
