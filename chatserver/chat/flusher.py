"""Every quarter of a second at most, the new deltas of all running turns go to the database in one transaction."""

from __future__ import annotations

import asyncio

import structlog

from chatserver.chat.live import Live, LiveTurn
from chatserver.chat.runner import Runner
from chatserver.chat.wakes import Wakes
from chatserver.clock import monotonic_s, now_us
from chatserver.store import prompts as prompt_rows
from chatserver.store import turns as turn_rows
from chatserver.store.database import Database, Tx
from chatserver.store.turns import NewEvents

log = structlog.get_logger("chatserver.flusher")

FLUSH_S = 0.25
LEASE_US = 15_000_000
RENEW_S = 4.0
LOOK_S = 0.6
"""How often a node that shares its database looks for turns of its own that somebody elsewhere wants stopped."""
LOOK_ALONE_S = 2.0
"""The same where no other node asks for stops, but a command beside the server may shut an account out."""


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
        self._looked = monotonic_s() - LOOK_ALONE_S

    async def _keep_flushing(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            try:
                await self.flush()
            except Exception as error:  # a loop of the house outlives its surprises: the next flush takes all of it
                log.error("deltas_not_stored", reason=error)
                await asyncio.sleep(1)

    async def flush(self) -> None:
        """Store what is new. A turn that is held by somebody else by now is stopped here."""
        batches: list[tuple[LiveTurn, NewEvents]] = []
        for live in self._live.running():
            if not live.is_ending and live.stored_seq < live.last_seq:
                batches.append((live, NewEvents(live.turn, live.stored_seq + 1, tuple(live.unstored()))))
        renew = bool(len(self._live)) and monotonic_s() - self._renewed >= RENEW_S
        await self._stop_who_should()
        if not batches and not renew:
            return

        renewed = [live.turn.id for live in self._live.running()] if renew else []

        def store(tx: Tx) -> list[int | None]:
            now = now_us()
            held = turn_rows.append_events(tx, [events for _, events in batches], now)
            for live, events in batches:  # after its turn, as an ending does: two who write both do not meet halfway
                if events.first_seq == 1 and live.prompt is not None and live.turn.id in held:
                    prompt_rows.keep_prompt(tx, live.turn, *live.prompt)
            turn_rows.renew_leases(tx, renewed, self._node_id, now + LEASE_US)
            # Where they were not taken, all may be stored already, by a commit whose answer got lost.
            return [
                events.last_seq if live.turn.id in held else turn_rows.last_stored(tx, live.turn)
                for live, events in batches
            ]

        stored = await self._db.write(store, essential=True)
        if renew:
            self._renewed = monotonic_s()
        for (live, _), last_seq in zip(batches, stored, strict=True):
            if last_seq is not None:
                live.stored_seq = last_seq
            elif not live.is_ending and live.task is not None:
                log.warning("turn_lost", turn=live.turn.id)
                live.task.cancel()
        self._wakes.stored((live.turn.id, live.stored_seq) for live, _ in batches)

    async def _stop_who_should(self) -> None:
        every_s = LOOK_S if self._db.is_shared else LOOK_ALONE_S
        if not len(self._live) or monotonic_s() - self._looked < every_s:
            return
        self._looked = monotonic_s()
        for turn_id in await self._db.read(lambda tx: turn_rows.stops_requested(tx, self._node_id)):
            self._runner.stop(turn_id)
