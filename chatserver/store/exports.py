"""What an export reads, page by page, so that memory stays flat and no read lasts."""

from __future__ import annotations

import msgspec

from chatserver.domain.access import Actor
from chatserver.domain.conversations import Conversation, TitleSource
from chatserver.domain.feedback import Feedback
from chatserver.domain.messages import MessageState, Role
from chatserver.domain.tuning import Tuning, decode_parameters
from chatserver.store.branches import names_of
from chatserver.store.conversations import decode_tags
from chatserver.store.database import Tx
from chatserver.store.feedback import all_feedback


class StoredMessage(msgspec.Struct, frozen=True):
    """A row as it stands; parts as JSON text. cleared_at: of its clear-context marker, 0 for none; feedback: what its
    owner said of it."""

    id: str
    parent_id: str | None
    role: Role
    state: MessageState
    model: str
    created_at: int
    parts: str
    continues: bool
    cleared_at: int
    feedback: Feedback | None = None
    branch: str = ""


class _Row(msgspec.Struct, frozen=True):
    id: str
    owner_id: str
    title: str
    title_source: TitleSource
    tip_id: str | None
    model: str
    pinned: bool
    archived: bool
    created_at: int
    updated_at: int
    branches: int
    system_prompt: str
    parameters: str
    folder_id: str
    tags: str

    def to_domain(self) -> Conversation:
        columns = msgspec.structs.asdict(self)
        tuning = Tuning(columns.pop("system_prompt"), decode_parameters(columns.pop("parameters")))
        tags = decode_tags(columns.pop("tags"))
        return Conversation(**columns, tuning=tuning, tags=tags)


def conversations_after(tx: Tx, actor: Actor, after: str, limit: int) -> list[Conversation]:
    """The actor's conversations in order of creation, archived ones too, deleted ones not."""
    rows = tx.all(
        _Row,
        "SELECT id, owner_id, title, title_source, tip_id, model, pinned, archived, created_at, updated_at, branches,"
        " system_prompt, parameters, folder_id, tags"
        " FROM conversations WHERE owner_id = :owner AND deletion_id IS NULL AND temporary = 0 AND id > :after"
        " ORDER BY id LIMIT :limit",
        owner=actor.account_id,
        after=after,
        limit=limit,
    )
    return [row.to_domain() for row in rows]


def messages_after(tx: Tx, conversation_id: str, after: str, limit: int) -> list[StoredMessage]:
    """The visible messages of a conversation in order of creation, so that parents stand before children."""
    rows = tx.all(
        StoredMessage,
        "SELECT m.id, m.parent_id, m.role, m.state, m.model, m.created_at, m.parts, m.continues,"
        " COALESCE(k.created_at, 0) AS cleared_at FROM messages m LEFT JOIN context_markers k ON k.message_id = m.id"
        " WHERE m.conversation_id = :conversation AND m.deletion_id IS NULL AND m.id > :after"
        " ORDER BY m.id LIMIT :limit",
        conversation=conversation_id,
        after=after,
        limit=limit,
    )
    said = all_feedback(tx, conversation_id) if rows else {}
    names = names_of(tx, conversation_id) if rows else {}
    return [
        msgspec.structs.replace(row, feedback=said.get(row.id), branch=names.get(row.id, ""))
        if row.id in said or row.id in names
        else row
        for row in rows
    ]
