"""What replies were given to cite: one row a reply, written before its model is asked, so that no crash loses it."""

from __future__ import annotations

from collections.abc import Sequence

from chatserver.domain.messages import CitationPart, Message, Parts, decode_parts, encode_parts
from chatserver.domain.sources import citations_of, without_text
from chatserver.domain.turns import Turn
from chatserver.store.database import Tx


def keep_sources(tx: Tx, turn: Turn, citations: Sequence[CitationPart]) -> None:
    """For a running turn; nothing when its reply is gone."""
    _keep(tx, turn.conversation_id, turn.reply_id, without_text(citations))


def keep_copied(tx: Tx, message: Message) -> None:
    """A message that was copied with its citations."""
    if citations := citations_of(message.parts):
        _keep(tx, message.conversation_id, message.id, citations)


def sources_of(tx: Tx, turn: Turn) -> tuple[CitationPart, ...]:
    """turn: one that the caller has found to be the actor's, or ends."""
    text = tx.one(
        str,
        "SELECT sources FROM message_sources WHERE message_id = :reply AND conversation_id = :conversation",
        reply=turn.reply_id,
        conversation=turn.conversation_id,
    )
    return citations_of(decode_parts(text)) if text is not None else ()


def has_sources(tx: Tx, conversation_id: str) -> bool:
    """Whether any reply of a conversation, which the caller has found to be the actor's, was given some."""
    found = tx.one(
        int, "SELECT 1 FROM message_sources WHERE conversation_id = :conversation LIMIT 1", conversation=conversation_id
    )
    return found is not None


def _keep(tx: Tx, conversation_id: str, message_id: str, citations: Parts) -> None:
    tx.run(
        "INSERT INTO message_sources (message_id, conversation_id, sources)"
        " SELECT id, conversation_id, :sources FROM messages WHERE id = :message AND conversation_id = :conversation"
        " ON CONFLICT (message_id) DO NOTHING",
        message=message_id,
        conversation=conversation_id,
        sources=encode_parts(citations).decode(),
    )
