"""One conversation to be written out, a branch or the whole tree: looked at once, then read in pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

import msgspec

from chatserver.chat.exports import parts_so_far
from chatserver.domain.access import Actor
from chatserver.domain.conversations import Conversation
from chatserver.domain.messages import Message
from chatserver.domain.transcripts import AsRead, Place, TranscriptItem, TranscriptScope, places_in_tree, places_on_path
from chatserver.errors import NotFound
from chatserver.store import conversations as conversation_rows
from chatserver.store import feedback as feedback_rows
from chatserver.store import messages as message_rows
from chatserver.store.database import Database, Tx

MESSAGES_AT_ONCE = 200


class Transcript:
    """conversation: its tip is the one that was asked for."""

    def __init__(self, db: Database, conversation: Conversation, places: list[Place]) -> None:
        self._db = db
        self.conversation = conversation
        self.places = places

    @property
    def has_versions(self) -> bool:
        """Whether one must say which message follows which."""
        return any(place.versions > 1 for place in self.places)

    async def pages(self) -> AsyncIterator[list[TranscriptItem]]:
        """The messages in their order. One that is deleted meanwhile is left out; a reply that is still being written
        stands there as far as it is."""
        for start in range(0, len(self.places), MESSAGES_AT_ONCE):
            page = self.places[start : start + MESSAGES_AT_ONCE]
            yield await self._db.read(partial(self._read, places=page))

    async def pages_as_read(self) -> AsyncIterator[list[TranscriptItem]]:
        """The same for somebody who reads: a continued reply is one."""
        whole = AsRead()
        async for page in self.pages():
            yield [ready for item in page for ready in whole.take(item)]
        yield whole.close()

    def _read(self, tx: Tx, places: list[Place]) -> list[TranscriptItem]:
        wanted = {place.id: place for place in places}
        found = message_rows.messages_among(tx, self.conversation.id, list(wanted))
        said = feedback_rows.all_feedback(tx, self.conversation.id)
        return [
            TranscriptItem(wanted[message.id], _as_it_stands(tx, message), said.get(message.id)) for message in found
        ]


class Transcripts:
    """The actor's own conversations, to be written out one at a time."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def open(
        self, actor: Actor, conversation_id: str, scope: TranscriptScope = "path", tip_id: str | None = None
    ) -> Transcript:
        """Raises NotFound. tip_id None: the stored tip."""

        def look(tx: Tx) -> tuple[Conversation, list[Place]]:
            found = conversation_rows.conversation_of(tx, actor, conversation_id)
            if found is None:
                raise NotFound("There is no such conversation.")
            tip = tip_id or found.tip_id
            if tip_id and message_rows.message_in(tx, found.id, tip_id) is None:
                raise NotFound("There is no such message in this conversation.")
            edges = message_rows.edges_of(tx, found.id)
            places = places_in_tree(edges) if scope == "tree" else places_on_path(edges, tip or "")
            return msgspec.structs.replace(found, tip_id=tip), places

        return Transcript(self._db, *await self._db.read(look))


def _as_it_stands(tx: Tx, message: Message) -> Message:
    if message.state != "running":
        return message
    parts = parts_so_far(tx, message.conversation_id, message.id)
    return msgspec.structs.replace(message, state="interrupted", parts=parts)
