"""End the turns nobody runs any more: after a crash, a lost lease, or on the read that notices."""

from __future__ import annotations

import asyncio

import structlog

from chatserver.chat.endings import CallOutcome, Ending, estimated_usage, write_foreign_ending
from chatserver.chat.left_calls import LeftCalls
from chatserver.chat.live import Live
from chatserver.chat.meters import Meters
from chatserver.clock import monotonic_s, now_us
from chatserver.domain.leases import Marks
from chatserver.domain.messages import reasoning_of, text_of
from chatserver.domain.tree import below_marker, count_parts, count_tokens, last_round
from chatserver.domain.turns import FOREIGN_END_OFFSET, Delta, EndDelta, ResetDelta, Turn, TurnError, assemble_parts
from chatserver.store import calls as call_rows
from chatserver.store import messages as message_rows
from chatserver.store import sources as source_rows
from chatserver.store import turns as turn_rows
from chatserver.store.conversations import lock_conversation
from chatserver.store.database import Database, Tx
from chatserver.store.turns import HeldTurn

log = structlog.get_logger("chatserver.recovery")

SWEEP_S = 3.0
LEFT_S = 15.0
"""A turn whose lease was not renewed for so long, by the clock of who waits for it, is left behind."""
INTERRUPTED = TurnError("interrupted", "The server stopped while this was written. Continue picks up where it ended.")


def interrupt_turn(tx: Tx, turn: Turn, now: int) -> bool:
    """End a turn left behind as interrupted, with the text that was stored and its estimated usage. False: it was not
    left behind after all."""
    lock_conversation(tx, turn.conversation_id)
    taken = turn_rows.take_over(tx, turn)
    if taken is None:
        return False
    turn = taken
    stored: list[Delta] = []
    after = 0
    while rows := turn_rows.events_after(tx, turn.id, after):
        for row in rows:
            stored.extend(row.deltas)
        after = rows[-1].last_seq
    parts = assemble_parts(stored)
    path = below_marker(message_rows.path_to(tx, turn.conversation_id, turn.reply_id))
    call_id = call_rows.running_call_of(tx, turn.id) or ""
    earlier = call_rows.usage_of_ended(tx, turn.id)
    call = None
    if call_id:
        # of a turn with tools only what was said since the last results is this call's
        before, since = last_round(parts) if earlier.calls else ((), parts)
        input_tokens = sum(count_tokens(message) for message in path) + count_parts(before)
        usage = estimated_usage(input_tokens, since) if stored else turn.usage
        call = CallOutcome(call_id, call_rows.labels_of(tx, call_id), usage, first_token_at=turn.first_token_at)
    usage = earlier + call.usage if call else earlier
    ending = Ending(
        turn=turn,
        call=call,
        state="interrupted",
        deltas=tuple(stored),
        usage=usage,
        error=INTERRUPTED,
        first_token_at=turn.first_token_at,
        citations=source_rows.sources_of(tx, turn),
    )
    told: list[Delta] = [ResetDelta(text_of(parts), reasoning_of(parts)), EndDelta("interrupted", usage, INTERRUPTED)]
    return write_foreign_ending(tx, ending, parts, turn.last_seq + FOREIGN_END_OFFSET, told, now)


class Recovery:
    """Sweeps expired turns: at start, every few seconds, and when a reader meets one."""

    def __init__(self, db: Database, live: Live, node_id: str, meters: Meters, *, lock_proves_death: bool) -> None:
        self._db = db
        self._left_calls = LeftCalls(db, node_id)
        self._live = live
        self._meters = meters
        self._lock_proves_death = lock_proves_death
        self._marks = Marks()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Before the first request: on an engine whose lock proves the former owner dead, every running turn ends."""
        ended = await self.sweep(all_running=self._lock_proves_death)
        if self._lock_proves_death:
            await self._left_calls.end_all()
        else:
            await self._left_calls.say()
        if ended:
            log.info("turns_interrupted", count=ended)
        self._task = asyncio.create_task(self._keep_sweeping(), name="recovery")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _keep_sweeping(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                await self.sweep()
                if not self._lock_proves_death:
                    await self._left_calls.sweep()
            except Exception as error:  # a loop of the house outlives its surprises
                # While the database was away nobody could renew: from the last failure on all have their time again.
                self._marks.clear()
                self._left_calls.begin_anew()
                log.error("sweep_failed", reason=error)

    async def sweep(self, *, all_running: bool = False) -> int:
        """End every turn that was left behind; returns how many. all_running: every one that does not run here."""
        held = await self._db.read(turn_rows.held_turns)
        left = [turn.id for turn in held if all_running or self._is_left(turn)]
        self._marks.keep_only({turn.id for turn in held})
        if not left:
            return 0
        ended = 0
        for turn in await self._db.read(lambda tx: turn_rows.running_turns(tx, left)):
            ended += await self.end_if_expired(turn, all_running=all_running)
        return ended

    async def end_if_expired(self, turn: Turn, *, all_running: bool = False) -> bool:
        """End this turn when it was left behind and does not run here."""
        if turn.state != "running" or self._live.get(turn.id) is not None:
            return False
        if not all_running and not self._is_left(turn):
            return False
        is_over = await self._db.write(lambda tx: interrupt_turn(tx, turn, now_us()), essential=True)
        if is_over:
            self._meters.turn_left()
        return is_over

    def _is_left(self, turn: Turn | HeldTurn) -> bool:
        """Whether its lease was let go, or its mark has stood for so long."""
        mark = turn.lease_epoch, turn.lease_until
        return not turn.lease_until or self._marks.still_s(turn.id, mark, monotonic_s()) >= LEFT_S
