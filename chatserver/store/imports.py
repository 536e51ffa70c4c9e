"""What an import asks and writes: whole trees, kept out of sight until they are complete."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from chatserver.domain.conversations import Conversation
from chatserver.domain.messages import Message, encode_parts
from chatserver.domain.tuning import encode_parameters
from chatserver.store import files
from chatserver.store.batches import parameters_of, values_of
from chatserver.store.database import Tx


class Standing(msgspec.Struct, frozen=True):
    """Whose a conversation is, and whether it is hidden."""

    owner_id: str
    deletion_id: str | None


class _Place(msgspec.Struct, frozen=True):
    id: str
    deletion_id: str | None


def standing_of(tx: Tx, conversation_id: str) -> Standing | None:
    """Asked of every id an import would use; tells the caller nothing but whether it is free."""
    return tx.one(Standing, "SELECT owner_id, deletion_id FROM conversations WHERE id = :id", id=conversation_id)


def messages_in(tx: Tx, conversation_id: str) -> dict[str, bool]:
    """The ids of a conversation's messages, deleted ones too, and whether each is visible."""
    rows = tx.all(_Place, "SELECT id, deletion_id FROM messages WHERE conversation_id = :id", id=conversation_id)
    return {row.id: row.deletion_id is None for row in rows}


def is_message(tx: Tx, message_id: str) -> bool:
    return tx.one(int, "SELECT 1 FROM messages WHERE id = :id", id=message_id) is not None


def insert_conversation(tx: Tx, conversation: Conversation, deletion_id: str | None) -> None:
    """As it was elsewhere, times included; with a deletion_id it stays hidden."""
    tx.run(
        "INSERT INTO conversations (id, owner_id, title, title_source, tip_id, model, pinned, archived, branches,"
        " created_at, updated_at, deletion_id, system_prompt, parameters) VALUES (:id, :owner, :title, :source, :tip,"
        " :model, :pinned, :archived, :branches, :created, :updated, :deletion, :prompt, :parameters)",
        id=conversation.id,
        owner=conversation.owner_id,
        title=conversation.title,
        source=conversation.title_source,
        tip=conversation.tip_id,
        model=conversation.model,
        pinned=int(conversation.pinned),
        archived=int(conversation.archived),
        branches=conversation.branches,
        created=conversation.created_at,
        updated=conversation.updated_at,
        deletion=deletion_id,
        prompt=conversation.tuning.system_prompt,
        parameters=encode_parameters(conversation.tuning.parameters).decode(),
    )


def insert_messages(tx: Tx, messages: Sequence[Message]) -> int:
    """Messages in one statement, as many as batches.runs_of gives; whose id is taken is left as it is. Returns how many
    were inserted."""
    inserted = tx.run(
        "INSERT INTO messages (id, conversation_id, parent_id, role, state, parts, model, continues, created_at)"
        f" VALUES {values_of(('{}',) * 9, len(messages))} ON CONFLICT (id) DO NOTHING",
        **parameters_of(
            [
                (
                    message.id,
                    message.conversation_id,
                    message.parent_id,
                    message.role,
                    message.state,
                    encode_parts(message.parts).decode(),
                    message.model,
                    int(message.continues),
                    message.created_at,
                )
                for message in messages
            ]
        ),
    )
    for message in messages:
        files.name_files(tx, message.id, message.parts)
    return inserted


def set_marker(tx: Tx, conversation_id: str, message_id: str, at: int) -> None:
    tx.run(
        "INSERT INTO context_markers (message_id, conversation_id, created_at) VALUES (:id, :conversation, :at)"
        " ON CONFLICT (message_id) DO NOTHING",
        id=message_id,
        conversation=conversation_id,
        at=at,
    )


def set_shape(tx: Tx, conversation_id: str, *, tip_id: str | None, branches: int) -> None:
    tx.run(
        "UPDATE conversations SET tip_id = :tip, branches = :branches WHERE id = :id",
        tip=tip_id,
        branches=branches,
        id=conversation_id,
    )


def raise_updated(tx: Tx, conversation_id: str, at: int) -> None:
    """More came to a conversation that was there: it is as new as the newer of the two."""
    tx.run(
        "UPDATE conversations SET updated_at = :at WHERE id = :id AND updated_at < :at",
        at=at,
        id=conversation_id,
    )


def show(tx: Tx, conversation_id: str, deletion_id: str) -> None:
    """The whole tree is there: it comes into sight."""
    tx.run(
        "UPDATE conversations SET deletion_id = NULL WHERE id = :id AND deletion_id = :deletion",
        id=conversation_id,
        deletion=deletion_id,
    )
    tx.run("DELETE FROM deletions WHERE id = :deletion", deletion=deletion_id)
