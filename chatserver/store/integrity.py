"""Questions about what must always be true: asked by the doctor over the whole database, never on a request's way."""

from __future__ import annotations

import msgspec

from chatserver.store.database import Tx


class Suspect(msgspec.Struct, frozen=True):
    """A row that breaks a rule, and the conversation it belongs to."""

    id: str
    conversation_id: str


def conversation_ids(tx: Tx, after: str, limit: int) -> list[str]:
    return tx.all(
        str, "SELECT id FROM conversations WHERE id > :after ORDER BY id LIMIT :limit", after=after, limit=limit
    )


def tip_of(tx: Tx, conversation_id: str) -> str | None:
    return tx.one(str, "SELECT tip_id FROM conversations WHERE id = :id AND tip_id IS NOT NULL", id=conversation_id)


def foreign_parents(tx: Tx) -> list[Suspect]:
    """Messages whose parent is gone or lies in another conversation."""
    return tx.all(
        Suspect,
        "SELECT m.id, m.conversation_id FROM messages m LEFT JOIN messages p ON p.id = m.parent_id"
        " WHERE m.parent_id IS NOT NULL AND (p.id IS NULL OR p.conversation_id <> m.conversation_id)",
    )


def visible_below_hidden(tx: Tx) -> list[Suspect]:
    return tx.all(
        Suspect,
        "SELECT m.id, m.conversation_id FROM messages m JOIN messages p ON p.id = m.parent_id"
        " WHERE m.deletion_id IS NULL AND p.deletion_id IS NOT NULL",
    )


def running_without_turn(tx: Tx) -> list[Suspect]:
    """Replies that claim to be written while no turn writes them."""
    return tx.all(
        Suspect,
        "SELECT m.id, m.conversation_id FROM messages m WHERE m.state = 'running' AND NOT EXISTS"
        " (SELECT 1 FROM turns t WHERE t.reply_id = m.id AND t.state = 'running')",
    )


def turns_without_reply(tx: Tx) -> list[Suspect]:
    return tx.all(
        Suspect,
        "SELECT t.id, t.conversation_id FROM turns t LEFT JOIN messages m ON m.id = t.reply_id"
        " WHERE m.id IS NULL OR m.conversation_id <> t.conversation_id",
    )


def ended_with_running_call(tx: Tx) -> list[Suspect]:
    return tx.all(
        Suspect,
        "SELECT k.id, t.conversation_id FROM calls k JOIN turns t ON t.id = k.turn_id"
        " WHERE k.state = 'running' AND t.state <> 'running'",
    )


def ended_without_event(tx: Tx, since: int) -> list[Suspect]:
    """Turns that ended after a time and whose events are not numbered without a gap up to their end."""
    return tx.all(
        Suspect,
        "SELECT t.id, t.conversation_id FROM turns t WHERE t.state <> 'running' AND t.ended_at > :since"
        " AND t.last_seq <> COALESCE((SELECT MAX(e.last_seq) FROM turn_events e WHERE e.turn_id = t.id), -1)",
        since=since,
    )


def foreign_in_shares(tx: Tx) -> list[Suspect]:
    """Messages in a snapshot of a conversation they are not of."""
    return tx.all(
        Suspect,
        "SELECT i.message_id AS id, s.conversation_id FROM share_messages i JOIN shares s ON s.id = i.share_id"
        " JOIN messages m ON m.id = i.message_id WHERE m.conversation_id <> s.conversation_id",
    )


def remove_foreign_in_shares(tx: Tx, message_id: str) -> None:
    tx.run(
        "DELETE FROM share_messages WHERE message_id = :id AND share_id IN (SELECT s.id FROM shares s"
        " JOIN messages m ON m.id = :id WHERE m.conversation_id <> s.conversation_id)",
        id=message_id,
    )


def names_astray(tx: Tx) -> list[Suspect]:
    """Names of branches that begin at a message of another conversation."""
    return tx.all(
        Suspect,
        "SELECT b.message_id AS id, b.conversation_id FROM branch_names b JOIN messages m ON m.id = b.message_id"
        " WHERE m.conversation_id <> b.conversation_id",
    )


def set_tip(tx: Tx, conversation_id: str, tip_id: str | None) -> None:
    tx.run("UPDATE conversations SET tip_id = :tip WHERE id = :id", tip=tip_id, id=conversation_id)
