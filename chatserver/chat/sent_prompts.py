"""What was sent for a turn, for its owner: the kept record made whole again with the branch it names."""

from __future__ import annotations

from chatserver.domain.access import Actor
from chatserver.domain.prompts import SentPrompt, restore_prompt
from chatserver.domain.tree import to_prompt
from chatserver.domain.turns import Turn
from chatserver.errors import Conflict, NotFound
from chatserver.store import messages as message_rows
from chatserver.store import prompts as prompt_rows
from chatserver.store import turns as turn_rows
from chatserver.store.database import Database, Tx


class SentPrompts:
    """Prompts of the actor's own turns."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def read(self, actor: Actor, turn_id: str) -> SentPrompt:
        """Raises NotFound when there is no such turn, or nothing of it was kept; Conflict `nothing_sent` as long as it
        was not asked for yet."""

        def look(tx: Tx) -> SentPrompt:
            turn = turn_rows.turn_of(tx, actor, turn_id)
            if turn is None or message_rows.message_in(tx, turn.conversation_id, turn.reply_id) is None:
                raise NotFound("There is no such turn.")
            return _restore(tx, turn)

        return await self._db.read(look)

    async def turn_of_reply(self, actor: Actor, message_id: str) -> Turn | None:
        """The turn a reply of the actor's was written in; None for one that no model wrote here."""

        def look(tx: Tx) -> Turn | None:
            message = message_rows.message_of(tx, actor, message_id)
            if message is None:
                raise NotFound("There is no such message.")
            return turn_rows.turn_by_reply(tx, message.conversation_id, message_id)

        return await self._db.read(look)


def _restore(tx: Tx, turn: Turn) -> SentPrompt:
    kept = prompt_rows.prompt_of(tx, turn)
    if kept is None and turn.state == "running":
        raise Conflict("This reply was not asked for yet. Try again in a moment.", code="nothing_sent")
    if kept is None:
        raise NotFound("What was sent for this reply was not kept.")
    record, texts = kept
    path = []
    if record.tip_id is not None and record.messages:
        path = message_rows.path_to(tx, turn.conversation_id, record.tip_id, record.messages)
    return restore_prompt(record, turn, to_prompt(path), texts)
