"""Feedback as rows: at most one a reply, its owner's."""

from __future__ import annotations

import msgspec

from chatserver.domain.feedback import Feedback, Verdict
from chatserver.store.database import Tx

_encode = msgspec.json.Encoder().encode
_decode_tags = msgspec.json.Decoder(tuple[str, ...]).decode


class _Row(msgspec.Struct, frozen=True):
    message_id: str
    value: Verdict
    tags: str
    reason: str
    changed_at: int

    def to_domain(self) -> Feedback:
        return Feedback(self.value, _decode_tags(self.tags), self.reason, self.changed_at)


class _Verdict(msgspec.Struct, frozen=True):
    message_id: str
    value: Verdict


def feedback_on(tx: Tx, conversation_id: str, message_id: str) -> Feedback | None:
    """What was said of a message of a conversation that the caller has found to be the actor's."""
    row = tx.one(
        _Row,
        "SELECT message_id, value, tags, reason, changed_at FROM feedback WHERE message_id = :message"
        " AND conversation_id = :conversation",
        message=message_id,
        conversation=conversation_id,
    )
    return row.to_domain() if row else None


def verdicts_in(tx: Tx, conversation_id: str) -> dict[str, Verdict]:
    """Which replies of a conversation were judged, and how."""
    rows = tx.all(_Verdict, "SELECT message_id, value FROM feedback WHERE conversation_id = :id", id=conversation_id)
    return {row.message_id: row.value for row in rows}


def all_feedback(tx: Tx, conversation_id: str) -> dict[str, Feedback]:
    """Everything that was said of a conversation's replies, by message."""
    rows = tx.all(
        _Row,
        "SELECT message_id, value, tags, reason, changed_at FROM feedback WHERE conversation_id = :id",
        id=conversation_id,
    )
    return {row.message_id: row.to_domain() for row in rows}


def set_feedback(tx: Tx, conversation_id: str, message_id: str, feedback: Feedback) -> None:
    tx.run(
        "INSERT INTO feedback (message_id, conversation_id, value, tags, reason, changed_at)"
        " VALUES (:message, :conversation, :value, :tags, :reason, :at) ON CONFLICT (message_id) DO UPDATE SET"
        " value = excluded.value, tags = excluded.tags, reason = excluded.reason, changed_at = excluded.changed_at",
        message=message_id,
        conversation=conversation_id,
        value=feedback.value,
        tags=_encode(feedback.tags).decode(),
        reason=feedback.reason,
        at=feedback.changed_at,
    )


def remove_feedback(tx: Tx, conversation_id: str, message_id: str) -> bool:
    """False: there was none."""
    removed = tx.run(
        "DELETE FROM feedback WHERE message_id = :message AND conversation_id = :conversation",
        message=message_id,
        conversation=conversation_id,
    )
    return removed == 1


def forget_conversation(tx: Tx, conversation_id: str) -> None:
    tx.run("DELETE FROM feedback WHERE conversation_id = :id", id=conversation_id)
