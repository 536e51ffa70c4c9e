"""Every quarter of a second at most, the new deltas of all running turns go to the database in one transaction."""

from __future__ import annotations

import asyncio

import structlog

from chatserver.chat.live import Live, LiveTurn
from chatserver.chat.runner import Runner
from chatserver.chat.wakes import Wakes
from chatserver.clock import monotonic_s, now_us
from chatserver.domain.turns import Delta
from chatserver.store import prompts as prompt_rows
from chatserver.store import turns as turn_rows
from chatserver.store.database import Database, Tx

log = structlog.get_logger("chatserver.flusher")

FLUSH_S = 0.25
LEASE_US = 15_000_000
RENEW_S = 4.0
LOOK_S = 0.6
"""How often a node that shares its database looks for turns of its own that somebody elsewhere wants stopped."""


class Flusher:
    """Stores deltas and renews leases for the turns of one node."""

    def __init__(self, db: Database, live: Live, runner: Runner, node_id: str, wakes: Wakes) -> None:
        self._db = db
        self._live = live
        self._runner = runner
        self._node_id = node_id
        self._wakes = wakes
        self._task: asyncio.Task[None] | None = None
        self._renewed = self._looked = monotonic_s()

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep_flushing(), name="flusher")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def look_soon(self) -> None:
        """Look for turns that are to stop at the next flush."""
        self._looked = monotonic_s() - LOOK_S

    async def _keep_flushing(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            try:
                await self.flush()
            except Exception as error:  # a loop of the house outlives its surprises: the next flush takes all of it
                log.error("deltas_not_stored", error=type(error).__name__, reason=str(error))
                await asyncio.sleep(1)

    async def flush(self) -> None:
        """Store what is new. A turn that is held by somebody else by now is stopped here."""
        batches: list[tuple[LiveTurn, int, tuple[Delta, ...]]] = []
        for live in self._live.running():
            if not live.is_ending and live.stored_seq < live.last_seq:
                batches.append((live, live.stored_seq + 1, tuple(live.unstored())))
        renew = bool(len(self._live)) and monotonic_s() - self._renewed >= RENEW_S
        await self._stop_who_should()
        if not batches and not renew:
            return

        renewed = [live.turn.id for live in self._live.running()] if renew else []

        def store(tx: Tx) -> list[int | None]:
            now = now_us()
            stored = [_append(tx, live, first, deltas, now) for live, first, deltas in batches]
            for turn_id in renewed:
                turn_rows.renew_lease(tx, turn_id, self._node_id, now + LEASE_US)
            return stored

        stored = await self._db.write(store, essential=True)
        if renew:
            self._renewed = monotonic_s()
        for (live, _, _), last_seq in zip(batches, stored, strict=True):
            if last_seq is not None:
                live.stored_seq = last_seq
            elif not live.is_ending and live.task is not None:
                log.warning("turn_lost", turn=live.turn.id)
                live.task.cancel()
        self._wakes.stored((live.turn.id, live.stored_seq) for live, _, _ in batches)

    async def _stop_who_should(self) -> None:
        if not self._db.is_shared or not len(self._live) or monotonic_s() - self._looked < LOOK_S:
            return
        self._looked = monotonic_s()
        for turn_id in await self._db.read(lambda tx: turn_rows.stops_requested(tx, self._node_id)):
            self._runner.stop(turn_id)


def _append(tx: Tx, live: LiveTurn, first_seq: int, deltas: tuple[Delta, ...], now: int) -> int | None:
    """The newest stored number afterwards; None when the turn is not ours any more. It may be that all was stored
    already, by a commit whose answer got lost."""
    turn = live.turn
    if first_seq == 1 and live.prompt is not None:
        prompt_rows.keep_prompt(tx, turn, *live.prompt)
    if turn_rows.append_events(tx, turn.id, turn.lease_epoch, first_seq, deltas, now):
        return first_seq + len(deltas) - 1
    return turn_rows.last_stored(tx, turn)
