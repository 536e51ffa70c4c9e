"""Deleting hides first: a subtree or a conversation goes out of sight at once, and is erased after its time."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from chatserver.domain.access import Actor
from chatserver.domain.tree import Edge
from chatserver.store import consents, feedback, folders, prompts, shares
from chatserver.store.batches import parameters_of, runs_of, values_of
from chatserver.store.conversations import lock_conversation
from chatserver.store.database import Tx

_SUBTREE = (
    "WITH RECURSIVE below(id) AS (SELECT CAST(:top AS TEXT) UNION ALL"
    " SELECT m.id FROM below JOIN messages m ON m.parent_id = below.id)"
)


class DeletionRow(msgspec.Struct, frozen=True):
    """message_id None: the whole conversation was hidden. parent_id: what the hidden subtree hung on."""

    id: str
    conversation_id: str
    message_id: str | None
    parent_id: str | None
    count: int
    created_at: int


def insert_deletion(tx: Tx, row: DeletionRow) -> None:
    tx.run(
        "INSERT INTO deletions (id, conversation_id, message_id, parent_id, count, created_at)"
        " VALUES (:id, :conversation, :message, :parent, :count, :now)",
        id=row.id,
        conversation=row.conversation_id,
        message=row.message_id,
        parent=row.parent_id,
        count=row.count,
        now=row.created_at,
    )


def hide_subtree(tx: Tx, conversation_id: str, top: str, deletion_id: str) -> int:
    """Hide a message and all visible ones below it; returns how many."""
    return tx.run(
        f"UPDATE messages SET deletion_id = :deletion WHERE id IN ({_SUBTREE} SELECT id FROM below)"
        " AND conversation_id = :conversation AND deletion_id IS NULL",
        top=top,
        deletion=deletion_id,
        conversation=conversation_id,
    )


def unhide_subtree(tx: Tx, conversation_id: str, deletion_id: str) -> int:
    return tx.run(
        "UPDATE messages SET deletion_id = NULL WHERE conversation_id = :conversation AND deletion_id = :deletion",
        conversation=conversation_id,
        deletion=deletion_id,
    )


def hidden_by(tx: Tx, conversation_id: str, deletion_id: str) -> list[str]:
    return tx.all(
        str,
        "SELECT id FROM messages WHERE conversation_id = :conversation AND deletion_id = :deletion ORDER BY id",
        conversation=conversation_id,
        deletion=deletion_id,
    )


def deletion_of(tx: Tx, actor: Actor, deletion_id: str) -> DeletionRow | None:
    return tx.one(
        DeletionRow,
        "SELECT d.id, d.conversation_id, d.message_id, d.parent_id, d.count, d.created_at FROM deletions d"
        " JOIN conversations c ON c.id = d.conversation_id WHERE d.id = :id AND c.owner_id = :owner",
        id=deletion_id,
        owner=actor.account_id,
    )


def remove_deletion(tx: Tx, deletion_id: str) -> None:
    tx.run("DELETE FROM deletions WHERE id = :id", id=deletion_id)


def expired_deletions(tx: Tx, before: int, limit: int) -> list[DeletionRow]:
    """Deletions whose time to be taken back is over, oldest first."""
    return tx.all(
        DeletionRow,
        "SELECT id, conversation_id, message_id, parent_id, count, created_at FROM deletions"
        " WHERE created_at < :before ORDER BY created_at LIMIT :limit",
        before=before,
        limit=limit,
    )


def erased_among(tx: Tx, message_ids: Sequence[str]) -> set[str]:
    """Those that are no message any more; one that is only hidden still is one."""
    gone = set(message_ids)
    for run in runs_of(sorted(gone)):
        sql = f"SELECT id FROM messages WHERE id IN (VALUES {values_of(('{}',), len(run))})"
        gone.difference_update(tx.all(str, sql, **parameters_of([(one,) for one in run])))
    return gone


def erase_deletion(tx: Tx, row: DeletionRow) -> None:
    """Erase for good what a deletion hid. Everything below a hidden message is hidden too, so no orphan is left."""
    lock_conversation(tx, row.conversation_id)
    if row.message_id is None:
        erase_conversation(tx, row.conversation_id)
        return
    gone = tx.all(
        Edge,
        f"SELECT id, parent_id, state FROM messages WHERE id IN ({_SUBTREE} SELECT id FROM below)"
        " AND conversation_id = :conversation",
        top=row.message_id,
        conversation=row.conversation_id,
    )
    for message_id in _children_first(gone):
        shares.forget_message(tx, message_id)
        tx.run("DELETE FROM context_markers WHERE message_id = :id", id=message_id)
        tx.run("DELETE FROM branch_names WHERE message_id = :id", id=message_id)
        feedback.remove_feedback(tx, row.conversation_id, message_id)
        prompts.forget_reply(tx, row.conversation_id, message_id)
        consents.forget_reply(tx, row.conversation_id, message_id)
        tx.run("DELETE FROM turn_events WHERE turn_id IN (SELECT id FROM turns WHERE reply_id = :id)", id=message_id)
        tx.run("DELETE FROM turns WHERE reply_id = :id", id=message_id)
        tx.run(
            "DELETE FROM views WHERE conversation_id = :conversation AND tip_id = :id",
            id=message_id,
            conversation=row.conversation_id,
        )
        tx.run("DELETE FROM messages WHERE id = :id", id=message_id)
    prompts.forget_texts(tx, row.conversation_id)
    remove_deletion(tx, row.id)


def erase_conversation(tx: Tx, conversation_id: str) -> None:
    """Erase a whole conversation for good, with all that hangs on it. No turn may run in it; what it used stays."""
    for rows in (shares, feedback, prompts, consents, folders):
        rows.forget_conversation(tx, conversation_id)
    tx.run(
        "DELETE FROM turn_events WHERE turn_id IN (SELECT id FROM turns WHERE conversation_id = :id)",
        id=conversation_id,
    )
    for table in ("turns", "views", "context_markers", "branch_names", "deletions", "message_sources", "messages"):
        tx.run(f"DELETE FROM {table} WHERE conversation_id = :id", id=conversation_id)
    tx.run("DELETE FROM conversations WHERE id = :id", id=conversation_id)


def _children_first(edges: list[Edge]) -> list[str]:
    """Not by id: on other nodes' clocks, and in imported trees, a child may have the lesser one."""
    below: dict[str | None, list[str]] = {}
    known = {edge.id for edge in edges}
    for edge in edges:
        below.setdefault(edge.parent_id if edge.parent_id in known else None, []).append(edge.id)
    ordered: list[str] = []
    level = below.get(None, [])
    while level:
        ordered += level
        level = [child for parent in level for child in below.get(parent, ())]
    return ordered[::-1]
