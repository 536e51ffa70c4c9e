"""A reader follows a turn from a cursor: live on the node that runs it, from the database anywhere else."""

from __future__ import annotations

from collections.abc import AsyncIterator

from chatserver.chat.live import Live, Numbered
from chatserver.chat.recovery import Recovery
from chatserver.chat.wakes import Wakes
from chatserver.domain.access import Actor
from chatserver.domain.messages import reasoning_of, text_of
from chatserver.domain.turns import EndDelta, ResetDelta, Turn
from chatserver.errors import NotFound
from chatserver.store import messages as message_rows
from chatserver.store import turns as turn_rows
from chatserver.store.database import Database, Tx
from chatserver.store.turns import StoredEvents


class Readers:
    """Opens readers on turns. Leaving one never touches the turn."""

    def __init__(self, db: Database, live: Live, recovery: Recovery, wakes: Wakes) -> None:
        self._db = db
        self._live = live
        self._recovery = recovery
        self._wakes = wakes

    async def turn(self, actor: Actor, turn_id: str) -> Turn:
        """The actor's turn as it stands; a turn nobody runs any more is ended by this look."""
        found = await self._db.read(lambda tx: turn_rows.turn_of(tx, actor, turn_id))
        if found is None:
            raise NotFound("There is no such turn.")
        if found.state == "running" and await self._recovery.end_if_expired(found):
            found = await self._db.read(lambda tx: turn_rows.turn_of(tx, actor, turn_id))
            if found is None:
                raise NotFound("There is no such turn.")
        return found

    async def text_above(self, actor: Actor, turn: Turn) -> str:
        """The words its reply goes on from, '' when it begins anew."""

        def look(tx: Tx) -> str:
            reply = message_rows.message_of(tx, actor, turn.reply_id)
            return message_rows.text_above(tx, reply) if reply is not None else ""

        return await self._db.read(look)

    def caught_up(self, turn: Turn, after: int) -> bool:
        """Whether a reader at this cursor has seen the end."""
        return turn.state != "running" and after == turn.last_seq

    async def follow(self, actor: Actor, turn: Turn, after: int) -> AsyncIterator[list[Numbered]]:
        """Batches of (number, delta) above `after`, in order, each once, closed by an EndDelta."""
        with self._wakes.watch(turn.id) as watch:
            position = after
            while True:
                live = self._live.get(turn.id)
                if live is not None and position <= live.last_seq:
                    async for batch in live.follow(position):
                        position = batch[-1][0]
                        yield batch
                        if isinstance(batch[-1][1], EndDelta):
                            return
                    turn = await self.turn(actor, turn.id)
                    continue
                rows = await self._stored(turn.id, position)
                if rows and self._follows(rows[0], position):
                    batch = [
                        (row.first_seq + index, delta)
                        for row in rows
                        for index, delta in enumerate(row.deltas)
                        if row.first_seq + index > position
                    ]
                    position = batch[-1][0]
                    yield batch
                    if isinstance(batch[-1][1], EndDelta):
                        return
                    continue
                if turn.state != "running":
                    yield await self._late(actor, turn, position)
                    return
                await watch.wait()
                turn = await self.turn(actor, turn.id)

    async def _stored(self, turn_id: str, position: int) -> list[StoredEvents]:
        return await self._db.read(lambda tx: turn_rows.events_after(tx, turn_id, position))

    @staticmethod
    def _follows(row: StoredEvents, position: int) -> bool:
        """Whether a stored row joins on to what the reader has: a reset joins on to anything."""
        return row.first_seq <= position + 1 or isinstance(row.deltas[0], ResetDelta)

    async def _late(self, actor: Actor, turn: Turn, position: int) -> list[Numbered]:
        """What a reader gets when the events are gone: the sealed reply as one reset, and the end."""

        def read(tx: Tx) -> ResetDelta:
            message = message_rows.message_of(tx, actor, turn.reply_id)
            parts = message.parts if message else ()
            return ResetDelta(text_of(parts), reasoning_of(parts))

        reset = await self._db.read(read)
        last = max(turn.last_seq, position + 2)
        return [(last - 1, reset), (last, EndDelta(turn.state, turn.usage, turn.error))]
