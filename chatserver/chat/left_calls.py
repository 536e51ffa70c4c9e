"""Calls of no turn whose process died are ended: nothing runs for ever, and a hold on one is let go."""

from __future__ import annotations

from functools import partial

import msgspec
import structlog

from chatserver.clock import monotonic_s, now_us
from chatserver.domain.calls import CallState, Usage
from chatserver.domain.events import CallEnded
from chatserver.domain.leases import Marks
from chatserver.store import calls as call_rows
from chatserver.store.calls import LeftCall
from chatserver.store.database import Database, Tx

log = structlog.get_logger("chatserver.recovery")

SAY_S = 5.0
"""How often a node says that it lives, where others may ask."""
DEAD_S = 20.0
"""A node that says nothing for so long, by the clock of who waits for it, is dead."""
BEGUN_US = 20_000_000
"""A call that began so lately may be of a node that has not been heard of yet."""
UNKNOWN_US = 1_800 * 1_000_000
"""A call of a version that does not say which node makes it; no call may take so long."""
FORGET_US = 86_400 * 1_000_000


class LeftCalls:
    """Looks for such calls; where the database is shared, says of this node that it lives."""

    def __init__(self, db: Database, node_id: str) -> None:
        self._db = db
        self._node_id = node_id
        self._said_s = 0.0
        self._marks = Marks()

    async def end_all(self) -> None:
        """Before the first request, on an engine whose lock proves the former owner dead."""
        left = await self._db.read(call_rows.running_calls_without_turn)
        await self._end(left)

    async def say(self) -> None:
        """That this node lives: before its first call, and again and again."""
        await self._db.write(lambda tx: call_rows.saw_node(tx, self._node_id, now_us()), essential=True)
        self._said_s = monotonic_s()

    async def sweep(self) -> None:
        if monotonic_s() - self._said_s >= SAY_S:
            await self.say()
        seen = await self._db.read(call_rows.nodes_seen)
        dead = [node for node in seen if self._marks.still_s(node.id, node.seen_at, monotonic_s()) >= DEAD_S]
        self._marks.keep_only({node.id for node in seen})
        living = sorted({node.id for node in seen} - {node.id for node in dead})
        now = now_us()
        await self._end(
            await self._db.read(
                lambda tx: call_rows.left_calls(
                    tx, living, begun_before=now - BEGUN_US, unknown_before=now - UNKNOWN_US
                )
            )
        )
        if forgotten := [node for node in dead if node.seen_at < now - FORGET_US]:
            await self._db.write(lambda tx: call_rows.forget_nodes(tx, forgotten))

    def begin_anew(self) -> None:
        """Nobody could say anything, as while the database was away."""
        self._marks.clear()

    async def _end(self, left: list[LeftCall]) -> None:
        for call in left:
            await self._db.write(partial(end_left_call, call=call), essential=True)
        if left:
            log.info("calls_interrupted", count=len(left))


def end_left_call(tx: Tx, call: LeftCall, state: CallState = "interrupted") -> None:
    """What it used nobody knows any more, but that it was made."""
    usage = Usage(calls=1, estimated=True)
    labels = msgspec.json.decode(call.labels, type=dict[str, str])
    ended = CallEnded(
        call.id, call.account_id, call.kind, call.origin, call.model, "", state, usage, call.turn_id, labels
    )
    call_rows.end_call(tx, ended, now_us())
