"""Messages as rows of a tree: inserted once, sealed once, walked by parent, hidden by subtree."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from chatserver.domain.access import Actor
from chatserver.domain.files import file_ids
from chatserver.domain.messages import Message, MessageState, Parts, Role, decode_parts, encode_parts, text_of
from chatserver.domain.tree import Edge
from chatserver.store import files
from chatserver.store.batches import parameters_of, runs_of
from chatserver.store.database import Tx

_COLUMNS = (
    "m.id, m.conversation_id, m.parent_id, m.role, m.state, m.parts, m.model, m.created_at, m.continues,"
    " CASE WHEN EXISTS (SELECT 1 FROM context_markers k WHERE k.message_id = m.id) THEN 1 ELSE 0 END AS cleared"
)
PATH = (
    "WITH RECURSIVE path(id, depth) AS (SELECT CAST(:tip AS TEXT), 0 UNION ALL"
    " SELECT (SELECT m.parent_id FROM messages m WHERE m.id = path.id), depth + 1 FROM path"
    " WHERE path.id IS NOT NULL AND depth < :limit)"
)
_SUBTREE = (
    "WITH RECURSIVE below(id) AS (SELECT CAST(:top AS TEXT) UNION ALL"
    " SELECT m.id FROM below JOIN messages m ON m.parent_id = below.id)"
)


class _Row(msgspec.Struct, frozen=True):
    id: str
    conversation_id: str
    parent_id: str | None
    role: Role
    state: MessageState
    parts: str
    model: str
    created_at: int
    continues: int
    cleared: int

    def to_domain(self) -> Message:
        return Message(
            self.id,
            self.conversation_id,
            self.parent_id,
            self.role,
            self.state,
            decode_parts(self.parts),
            self.model,
            self.created_at,
            bool(self.continues),
            bool(self.cleared),
        )


class _Sibling(msgspec.Struct, frozen=True):
    id: str
    parent_id: str | None


class _View(msgspec.Struct, frozen=True):
    tip_id: str
    seen_at: int


def newest_id(tx: Tx) -> str:
    """The greatest there is, whose ever it is; '' for none."""
    return tx.one(str, "SELECT MAX(id) FROM messages") or ""


def insert_message(tx: Tx, message: Message) -> None:
    """A new node below its parent; the caller has checked that the parent is of this conversation."""
    tx.queue(
        "INSERT INTO messages (id, conversation_id, parent_id, role, state, parts, model, continues, created_at,"
        " deletion_id) VALUES (:id, :conversation, :parent, :role, :state, :parts, :model, :continues, :at, NULL)",
        id=message.id,
        conversation=message.conversation_id,
        parent=message.parent_id,
        role=message.role,
        state=message.state,
        parts=encode_parts(message.parts).decode(),
        model=message.model,
        continues=int(message.continues),
        at=message.created_at,
    )
    files.name_files(tx, message.id, message.parts)


def seal_message(tx: Tx, message_id: str, state: MessageState, parts: Parts) -> None:
    """Give a running reply its parts, once."""
    sql = "UPDATE messages SET state = :state, parts = :parts WHERE id = :id AND state = 'running'"
    encoded = encode_parts(parts).decode()
    if not file_ids(parts):
        tx.queue(sql, state=state, parts=encoded, id=message_id)
    elif tx.run(sql, state=state, parts=encoded, id=message_id):
        files.name_files(tx, message_id, parts)


def message_of(tx: Tx, actor: Actor, message_id: str) -> Message | None:
    """A message in a conversation of the actor's, or None: unknown, hidden and somebody else's look the same."""
    row = tx.one(
        _Row,
        f"SELECT {_COLUMNS} FROM messages m JOIN conversations c ON c.id = m.conversation_id WHERE m.id = :id"
        " AND c.owner_id = :owner AND c.deletion_id IS NULL AND m.deletion_id IS NULL",
        id=message_id,
        owner=actor.account_id,
    )
    return row.to_domain() if row else None


def message_in(tx: Tx, conversation_id: str, message_id: str) -> Message | None:
    """A visible message of a conversation that the caller has already found to be the actor's."""
    row = tx.one(
        _Row,
        f"SELECT {_COLUMNS} FROM messages m WHERE m.id = :id AND m.conversation_id = :conversation"
        " AND m.deletion_id IS NULL",
        id=message_id,
        conversation=conversation_id,
    )
    return row.to_domain() if row else None


def text_above(tx: Tx, message: Message) -> str:
    """The words a reply goes on from, '' for one that does not; of a message the caller has already found to be the
    actor's."""
    text = ""
    while message.continues and message.parent_id is not None:
        above = message_in(tx, message.conversation_id, message.parent_id)
        if above is None or above.cleared_after:
            break
        text, message = text_of(above.parts) + text, above
    return text


def is_visible(tx: Tx, conversation_id: str, message_id: str) -> bool:
    """Whether neither the message nor its conversation is hidden."""
    return (
        tx.one(
            int,
            "SELECT 1 FROM messages m JOIN conversations c ON c.id = m.conversation_id WHERE m.id = :id"
            " AND c.id = :conversation AND m.deletion_id IS NULL AND c.deletion_id IS NULL",
            id=message_id,
            conversation=conversation_id,
        )
        is not None
    )


def path_to(tx: Tx, conversation_id: str, tip_id: str, limit: int = 1_000_000) -> list[Message]:
    """The last `limit` messages from the root down to the tip, oldest first."""
    rows = tx.all(
        _Row,
        f"{PATH} SELECT {_COLUMNS} FROM path JOIN messages m ON m.id = path.id"
        " WHERE m.conversation_id = :conversation AND depth < :limit ORDER BY depth DESC",
        tip=tip_id,
        conversation=conversation_id,
        limit=limit,
    )
    return [row.to_domain() for row in rows]


def length_to(tx: Tx, conversation_id: str, tip_id: str) -> int:
    """How many messages lie on the path down to a tip, below the last marker; none of them is read."""
    found = tx.one(
        int,
        f"{PATH}, marked(depth) AS (SELECT MIN(p.depth) FROM path p JOIN context_markers k ON k.message_id = p.id"
        " WHERE k.conversation_id = :conversation)"
        " SELECT COUNT(p.id) FROM path p WHERE p.depth < COALESCE((SELECT depth FROM marked), 1000000000)",
        tip=tip_id,
        conversation=conversation_id,
        limit=1_000_000_000,
    )
    return found or 0


def ids_up_from(tx: Tx, conversation_id: str, tip_id: str, limit: int) -> list[str]:
    """The tip and what lies above it, nearest first, at most so many."""
    return tx.all(
        str,
        f"{PATH} SELECT m.id FROM path JOIN messages m ON m.id = path.id"
        " WHERE m.conversation_id = :conversation AND depth < :limit ORDER BY depth",
        tip=tip_id,
        conversation=conversation_id,
        limit=limit,
    )


def markers_of(tx: Tx, conversation_id: str) -> tuple[str, ...]:
    """The messages below which the context was cleared, in order of their ids."""
    return tuple(
        tx.all(
            str,
            "SELECT message_id FROM context_markers WHERE conversation_id = :conversation ORDER BY message_id",
            conversation=conversation_id,
        )
    )


def versions_along(tx: Tx, conversation_id: str, tip_id: str, limit: int) -> dict[str | None, tuple[str, ...]]:
    """For each parent along the end of a path, its visible children in order; None stands for the roots."""
    rows = tx.all(
        _Sibling,
        f"{PATH} SELECT s.id, s.parent_id FROM path JOIN messages m ON m.id = path.id"
        " JOIN messages s ON s.parent_id = m.parent_id"
        " WHERE s.deletion_id IS NULL AND m.conversation_id = :conversation AND depth < :limit ORDER BY s.id",
        tip=tip_id,
        conversation=conversation_id,
        limit=limit,
    )
    found: dict[str | None, list[str]] = {}
    for row in rows:
        found.setdefault(row.parent_id, []).append(row.id)
    found[None] = roots_of(tx, conversation_id)
    return {parent: tuple(ids) for parent, ids in found.items()}


def roots_of(tx: Tx, conversation_id: str) -> list[str]:
    return tx.all(
        str,
        "SELECT id FROM messages WHERE conversation_id = :conversation AND parent_id IS NULL AND deletion_id IS NULL"
        " ORDER BY id",
        conversation=conversation_id,
    )


def children_of(tx: Tx, conversation_id: str, parent_id: str) -> list[str]:
    """The visible children of a message, in order of creation."""
    return tx.all(
        str,
        "SELECT id FROM messages WHERE parent_id = :parent AND conversation_id = :conversation"
        " AND deletion_id IS NULL ORDER BY id",
        parent=parent_id,
        conversation=conversation_id,
    )


def child_towards(tx: Tx, conversation_id: str, parent_id: str, tip_id: str) -> str | None:
    """The child of a message that lies on the way down to a tip, or None when the tip is not below it."""
    return tx.one(
        str,
        f"{PATH} SELECT m.id FROM path JOIN messages m ON m.id = path.id"
        " WHERE m.parent_id = :parent AND m.conversation_id = :conversation",
        tip=tip_id,
        parent=parent_id,
        conversation=conversation_id,
        limit=1_000_000,
    )


def has_children(tx: Tx, conversation_id: str, parent_id: str | None) -> bool:
    """Whether a visible message hangs below this one; for None, whether the conversation has a root."""
    if parent_id is None:
        return bool(roots_of(tx, conversation_id))
    return (
        tx.one(
            int,
            "SELECT 1 FROM messages WHERE parent_id = :parent AND deletion_id IS NULL LIMIT 1",
            parent=parent_id,
        )
        is not None
    )


def tree_of(tx: Tx, conversation_id: str) -> list[Message]:
    """Every visible message of a conversation, in order of creation."""
    rows = tx.all(
        _Row,
        f"SELECT {_COLUMNS} FROM messages m WHERE m.conversation_id = :conversation AND m.deletion_id IS NULL"
        " ORDER BY m.id",
        conversation=conversation_id,
    )
    return [row.to_domain() for row in rows]


def messages_among(tx: Tx, conversation_id: str, message_ids: Sequence[str]) -> list[Message]:
    """The visible ones of some messages of a conversation, in the order asked for."""
    found: dict[str, Message] = {}
    for run in runs_of(message_ids):
        names = ", ".join(f":p0_{number}" for number in range(len(run)))
        rows = tx.all(
            _Row,
            f"SELECT {_COLUMNS} FROM messages m WHERE m.conversation_id = :conversation AND m.deletion_id IS NULL"
            f" AND m.id IN ({names})",
            conversation=conversation_id,
            **parameters_of([(message_id,) for message_id in run]),
        )
        found |= {row.id: row.to_domain() for row in rows}
    return [found[message_id] for message_id in message_ids if message_id in found]


def edges_of(tx: Tx, conversation_id: str, *, hidden_too: bool = False) -> list[Edge]:
    """The bare tree of a conversation."""
    where = "" if hidden_too else " AND deletion_id IS NULL"
    return tx.all(
        Edge,
        f"SELECT id, parent_id, state FROM messages WHERE conversation_id = :conversation{where} ORDER BY id",
        conversation=conversation_id,
    )


def subtree_of(tx: Tx, conversation_id: str, top: str) -> list[Edge]:
    """The visible nodes at and below a message."""
    return tx.all(
        Edge,
        f"{_SUBTREE} SELECT m.id, m.parent_id, m.state FROM below JOIN messages m ON m.id = below.id"
        " WHERE m.conversation_id = :conversation AND m.deletion_id IS NULL ORDER BY m.id",
        top=top,
        conversation=conversation_id,
    )


def views_of(tx: Tx, conversation_id: str) -> dict[str, int]:
    """When each tip of a conversation was last looked at."""
    rows = tx.all(
        _View, "SELECT tip_id, seen_at FROM views WHERE conversation_id = :conversation", conversation=conversation_id
    )
    return {row.tip_id: row.seen_at for row in rows}


def set_marker(tx: Tx, conversation_id: str, message_id: str, now: int) -> None:
    """Put a clear-context marker below a message; twice is once."""
    tx.run(
        "INSERT INTO context_markers (message_id, conversation_id, created_at) VALUES (:id, :conversation, :now)"
        " ON CONFLICT (message_id) DO NOTHING",
        id=message_id,
        conversation=conversation_id,
        now=now,
    )


def remove_marker(tx: Tx, conversation_id: str, message_id: str) -> bool:
    return bool(
        tx.run(
            "DELETE FROM context_markers WHERE message_id = :id AND conversation_id = :conversation",
            id=message_id,
            conversation=conversation_id,
        )
    )
