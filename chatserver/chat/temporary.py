"""Temporary conversations: in no list and no search, kept while they are looked at, then erased; or kept for good."""

from __future__ import annotations

from functools import partial
from typing import Any

from chatserver.chat.conversations import Conversations
from chatserver.clock import now_us
from chatserver.domain.access import Actor
from chatserver.domain.conversations import Conversation
from chatserver.domain.extend import JobSpec
from chatserver.errors import Conflict, NotFound
from chatserver.store import conversations as conversation_rows
from chatserver.store import deletions as deletion_rows
from chatserver.store import search
from chatserver.store.database import Database, Tx

CLOSED_US = 15 * 60 * 1_000_000
"""What is left to come back when the page of a temporary conversation was closed."""
FAR = 1 << 62
ERASED_AT_ONCE = 20


class Temporaries:
    """They are stored like all others, so that a reload or a restart loses nothing while they last."""

    def __init__(self, db: Database, conversations: Conversations) -> None:
        self._db = db
        self._conversations = conversations

    async def keep(self, actor: Actor, conversation_id: str) -> Conversation:
        """From now on a conversation like any other. One that is one already stays as it is."""

        def store(tx: Tx) -> Conversation:
            conversation_rows.lock_conversation(tx, conversation_id)
            found = conversation_rows.conversation_of(tx, actor, conversation_id)
            if found is None:
                raise NotFound("There is no such conversation.")
            if found.temporary:
                conversation_rows.keep_conversation(tx, actor, conversation_id)
            return conversation_rows.conversation_of(tx, actor, conversation_id) or found

        return await self._db.write(store)

    async def close(self, actor: Actor, conversation_id: str) -> None:
        """Its page was closed: a quarter of an hour is left to open it again."""
        await self._set_end(actor, conversation_id, now_us() + CLOSED_US)

    async def open(self, actor: Actor, conversation_id: str) -> None:
        """Its page is open: it lasts until a day after its last message."""
        await self._set_end(actor, conversation_id, FAR)

    async def end(self, actor: Actor, conversation_id: str) -> None:
        """Out of sight at once, its turns stopped, erased as soon as those have ended; nothing takes it back."""
        found = await self._conversations.get(actor, conversation_id)
        if not found.temporary:
            raise Conflict("This chat is not temporary. Delete it instead.", code="not_temporary")
        await self._set_end(actor, conversation_id, 0)
        await self._conversations.delete(actor, conversation_id)
        await self.erase_over({})

    def job(self) -> JobSpec:
        return JobSpec("temporaries", self.erase_over, every_s=60)

    async def erase_over(self, payload: dict[str, Any]) -> None:
        """Erase those whose time is over; one in which an answer is being written waits until that has ended."""
        while over := await self._db.read(lambda tx: conversation_rows.over_temporaries(tx, now_us(), ERASED_AT_ONCE)):
            for conversation_id in over:
                await self._db.write(partial(_erase, conversation_id=conversation_id), essential=True)

    async def _set_end(self, actor: Actor, conversation_id: str, ends_at: int) -> None:
        if not await self._db.write(lambda tx: conversation_rows.set_end(tx, actor, conversation_id, ends_at)):
            raise NotFound("There is no such temporary chat.")


def _erase(tx: Tx, conversation_id: str) -> None:
    conversation_rows.lock_conversation(tx, conversation_id)
    if not conversation_rows.is_over(tx, conversation_id, now_us()):
        return  # kept, opened again or written in meanwhile
    search.forget_conversation(tx, conversation_id)
    deletion_rows.erase_conversation(tx, conversation_id)
