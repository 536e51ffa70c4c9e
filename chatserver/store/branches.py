"""What the map of a tree asks: messages without their content, the names of branches, where a fork came from."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from chatserver.domain.access import Actor
from chatserver.domain.branch_map import Node
from chatserver.domain.calls import Usage
from chatserver.domain.conversations import Origin
from chatserver.domain.messages import Message, MessageState, Role, decode_parts
from chatserver.store.database import Tx
from chatserver.store.messages import PATH

SHOWN_AT_ONCE = 200
_decode_usage = msgspec.json.Decoder(Usage).decode


class _Bare(msgspec.Struct, frozen=True):
    id: str
    parent_id: str | None
    role: Role
    state: MessageState
    model: str
    created_at: int


class _Used(msgspec.Struct, frozen=True):
    reply_id: str
    usage: str


class _Named(msgspec.Struct, frozen=True):
    message_id: str
    name: str


class _Whole(msgspec.Struct, frozen=True):
    id: str
    conversation_id: str
    parent_id: str | None
    role: Role
    state: MessageState
    parts: str
    model: str
    created_at: int
    continues: bool


def nodes_of(tx: Tx, conversation_id: str) -> list[Node]:
    """Every visible message without its content, in order of creation, with what its turn used."""
    used = {
        row.reply_id: _decode_usage(row.usage).tokens
        for row in tx.all(
            _Used,
            "SELECT reply_id, usage FROM turns WHERE conversation_id = :conversation AND state <> 'running'",
            conversation=conversation_id,
        )
    }
    rows = tx.all(
        _Bare,
        "SELECT id, parent_id, role, state, model, created_at FROM messages WHERE conversation_id = :conversation"
        " AND deletion_id IS NULL ORDER BY id",
        conversation=conversation_id,
    )
    return [
        Node(row.id, row.parent_id, row.role, row.state, row.model, row.created_at, used.get(row.id, 0)) for row in rows
    ]


def messages_named(tx: Tx, conversation_id: str, ids: Sequence[str]) -> dict[str, Message]:
    """These messages of one conversation, without their markers."""
    found: dict[str, Message] = {}
    for start in range(0, len(ids), SHOWN_AT_ONCE):
        some = ids[start : start + SHOWN_AT_ONCE]
        names = ", ".join(f":id{number}" for number in range(len(some)))
        rows = tx.all(
            _Whole,
            "SELECT id, conversation_id, parent_id, role, state, parts, model, created_at, continues FROM messages"
            f" WHERE conversation_id = :conversation AND deletion_id IS NULL AND id IN ({names})",
            conversation=conversation_id,
            **{f"id{number}": id_ for number, id_ in enumerate(some)},
        )
        for row in rows:
            found[row.id] = Message(
                row.id,
                row.conversation_id,
                row.parent_id,
                row.role,
                row.state,
                decode_parts(row.parts),
                row.model,
                row.created_at,
                row.continues,
            )
    return found


def names_of(tx: Tx, conversation_id: str) -> dict[str, str]:
    """The names people gave, by the message each begins at."""
    rows = tx.all(
        _Named,
        "SELECT message_id, name FROM branch_names WHERE conversation_id = :conversation",
        conversation=conversation_id,
    )
    return {row.message_id: row.name for row in rows}


def name_of(tx: Tx, conversation_id: str, tip_id: str) -> str:
    """The name of the branch that ends at a message: the nearest one above it, '' for none."""
    if not names_of(tx, conversation_id):
        return ""
    found = tx.one(
        str,
        f"{PATH} SELECT b.name FROM path JOIN branch_names b ON b.message_id = path.id"
        " WHERE b.conversation_id = :conversation ORDER BY depth LIMIT 1",
        tip=tip_id,
        conversation=conversation_id,
        limit=1_000_000_000,
    )
    return found or ""


def set_name(tx: Tx, conversation_id: str, message_id: str, name: str, now: int) -> None:
    """Name the branch that begins at a message of this conversation; '' takes the name away."""
    if not name:
        tx.run(
            "DELETE FROM branch_names WHERE message_id = :id AND conversation_id = :conversation",
            id=message_id,
            conversation=conversation_id,
        )
        return
    tx.run(
        "INSERT INTO branch_names (message_id, conversation_id, name, created_at)"
        " VALUES (:id, :conversation, :name, :now) ON CONFLICT (message_id) DO UPDATE SET name = excluded.name",
        id=message_id,
        conversation=conversation_id,
        name=name,
        now=now,
    )


def set_origin(tx: Tx, actor: Actor, conversation_id: str, message_id: str) -> None:
    """Remember where a conversation was forked."""
    tx.run(
        "UPDATE conversations SET forked_from = :message WHERE id = :id AND owner_id = :owner",
        message=message_id,
        id=conversation_id,
        owner=actor.account_id,
    )


def origin_of(tx: Tx, actor: Actor, conversation_id: str) -> Origin | None:
    """Where a conversation was forked, as long as its owner can see that message."""
    return tx.one(
        Origin,
        "SELECT m.id AS message_id, o.id AS conversation_id, o.title FROM conversations c"
        " JOIN messages m ON m.id = c.forked_from JOIN conversations o ON o.id = m.conversation_id"
        " WHERE c.id = :id AND c.owner_id = :owner AND o.owner_id = :owner AND m.deletion_id IS NULL"
        " AND o.deletion_id IS NULL",
        id=conversation_id,
        owner=actor.account_id,
    )
