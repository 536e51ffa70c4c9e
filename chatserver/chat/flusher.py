"""Every quarter of a second at most, the new deltas of all running turns go to the database in one transaction."""

from __future__ import annotations

import asyncio

import structlog

from chatserver.chat.live import Live, LiveTurn
from chatserver.chat.runner import Runner
from chatserver.clock import monotonic_s, now_us
from chatserver.domain.turns import Delta
from chatserver.errors import ChatserverError
from chatserver.store import turns as turn_rows
from chatserver.store.database import Database, Tx

log = structlog.get_logger("chatserver.flusher")

FLUSH_S = 0.25
LEASE_US = 15_000_000
RENEW_S = 4.0


class Flusher:
    """Stores deltas and renews leases for the turns of one node."""

    def __init__(self, db: Database, live: Live, runner: Runner, node_id: str) -> None:
        self._db = db
        self._live = live
        self._runner = runner
        self._node_id = node_id
        self._task: asyncio.Task[None] | None = None
        self._renewed = monotonic_s()

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep_flushing(), name="flusher")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _keep_flushing(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            try:
                await self.flush()
            except ChatserverError as error:
                log.error("deltas_not_stored", code=error.code)
                await asyncio.sleep(1)

    async def flush(self) -> None:
        """Store what is new. A turn that is held by somebody else by now is stopped here."""
        batches: list[tuple[LiveTurn, int, tuple[Delta, ...]]] = []
        for live in self._live.running():
            if not live.is_ending and live.stored_seq < live.last_seq:
                batches.append((live, live.stored_seq + 1, tuple(live.unstored())))
        renew = bool(len(self._live)) and monotonic_s() - self._renewed >= RENEW_S
        if not batches and not renew:
            return

        renewed = [live.turn.id for live in self._live.running()] if renew else []

        def store(tx: Tx) -> tuple[list[bool], list[str]]:
            now = now_us()
            held = [
                turn_rows.append_events(tx, live.turn.id, live.turn.lease_epoch, first, deltas, now)
                for live, first, deltas in batches
            ]
            for turn_id in renewed:
                turn_rows.renew_lease(tx, turn_id, self._node_id, now + LEASE_US)
            return held, turn_rows.stops_requested(tx, self._node_id) if renew else []

        held, stops = await self._db.write(store)
        if renew:
            self._renewed = monotonic_s()
        for (live, first, deltas), is_held in zip(batches, held, strict=True):
            if is_held:
                live.stored_seq = first + len(deltas) - 1
            elif not live.is_ending and live.task is not None:
                log.warning("turn_lost", turn=live.turn.id)
                live.task.cancel()
        for turn_id in stops:
            self._runner.stop(turn_id)
