"""The rows of direct calls, many in one write: what waits when the last write returns is the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import msgspec
import structlog

from chatserver.chat.meters import CallReport
from chatserver.domain.calls import Call
from chatserver.errors import ChatserverError
from chatserver.store import calls as table
from chatserver.store.database import Database, Tx

log = structlog.get_logger("chatserver.calls")

RETRY_S = 0.5
MOST_AT_ONCE = 256


class Begun(msgspec.Struct, frozen=True):
    """A call to be kept, and who waits until it is."""

    call: Call
    kept: asyncio.Future[None]


class CallRows:
    """`begin` is acknowledged after its commit; `end` is taken at once and written until it is kept."""

    def __init__(self, db: Database, wake: Callable[[], None]) -> None:
        """wake: called after endings were committed, for those who wait for events."""
        self._db = db
        self._wake = wake
        self._begins: list[Begun] = []
        self._ends: list[CallReport] = []
        self._beginning: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None

    def begin(self, call: Call) -> asyncio.Future[None]:
        """Done when the row is there; raises what the database says when it is not."""
        kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._begins.append(Begun(call, kept))
        if self._beginning is None:
            self._beginning = asyncio.create_task(self._write_begins(), name="calls begin")
        return kept

    def end(self, report: CallReport) -> None:
        """The call's row must be there."""
        self._ends.append(report)
        if self._ending is None:
            self._ending = asyncio.create_task(self._write_ends(), name="calls end")

    async def settle(self) -> None:
        """Wait until everything taken so far is kept."""
        while (tasks := [task for task in (self._beginning, self._ending) if task is not None]) != []:
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _write_begins(self) -> None:
        try:
            while self._begins:
                batch, self._begins = self._begins[:MOST_AT_ONCE], self._begins[MOST_AT_ONCE:]
                error = await self._try(partial(_insert, batch=batch), essential=False)
                for begun in batch:
                    if begun.kept.done():
                        continue
                    if error is None:
                        begun.kept.set_result(None)
                    else:
                        begun.kept.set_exception(error)
                        begun.kept.exception()  # who waited may be gone: then nobody has to hear of it
        finally:
            self._beginning = None

    async def _write_ends(self) -> None:
        try:
            while self._ends:
                batch, self._ends = self._ends[:MOST_AT_ONCE], self._ends[MOST_AT_ONCE:]
                while error := await self._try(partial(_finish, batch=batch), essential=True):
                    log.error("calls_not_ended", count=len(batch), reason=str(error))
                    await asyncio.sleep(RETRY_S)
                self._wake()
        finally:
            self._ending = None

    async def _try(self, function: Callable[[Tx], None], *, essential: bool) -> ChatserverError | None:
        try:
            await self._db.write(function, essential=essential)
        except ChatserverError as error:
            return error
        return None


def _insert(tx: Tx, batch: list[Begun]) -> None:
    for begun in batch:
        table.insert_call(tx, begun.call)


def _finish(tx: Tx, batch: list[CallReport]) -> None:
    for report in batch:
        table.end_call(
            tx, report.event(), report.ended_at, attempts=report.attempts, first_token_at=report.first_token_at
        )
