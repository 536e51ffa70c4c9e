"""Shares as rows: a link's hash, and which messages its snapshot holds. Read by the owner, or by who has the link."""

from __future__ import annotations

from chatserver.domain.access import Account, Actor
from chatserver.domain.files import StoredFile
from chatserver.domain.shares import Share
from chatserver.domain.tree import Edge
from chatserver.store import accounts as account_rows
from chatserver.store import files as file_rows
from chatserver.store import messages as message_rows
from chatserver.store.database import Tx

_COLUMNS = (
    "s.id, s.owner_id, s.conversation_id, s.tip_id, s.scope, s.title, s.thoughts, s.messages, s.last_four,"
    " s.created_at, s.expires_at"
)
_SHOWN = (
    "FROM share_messages i JOIN shares s ON s.id = i.share_id JOIN messages m ON m.id = i.message_id"
    " JOIN conversations c ON c.id = s.conversation_id WHERE s.id = :share AND s.owner_id = :owner"
    " AND c.deletion_id IS NULL AND m.deletion_id IS NULL"
)
"""What of a snapshot is still there: whatever was deleted since is gone from it, for as long as it is deleted."""


def insert_share(tx: Tx, actor: Actor, share: Share, share_hash: str) -> None:
    tx.run(
        "INSERT INTO shares (id, hash, last_four, owner_id, conversation_id, tip_id, scope, title, thoughts, messages,"
        " created_at, expires_at) VALUES (:id, :hash, :last_four, :owner, :conversation, :tip, :scope, :title,"
        " :thoughts, :messages, :created_at, :expires_at)",
        id=share.id,
        hash=share_hash,
        last_four=share.last_four,
        owner=actor.account_id,
        conversation=share.conversation_id,
        tip=share.tip_id,
        scope=share.scope,
        title=share.title,
        thoughts=int(share.thoughts),
        messages=share.messages,
        created_at=share.created_at,
        expires_at=share.expires_at,
    )


def include_path(tx: Tx, share_id: str, conversation_id: str, tip_id: str) -> None:
    """The snapshot holds the branch down to a message of the conversation."""
    tx.run(
        f"INSERT INTO share_messages (share_id, message_id) {message_rows.PATH}"
        " SELECT CAST(:share AS TEXT), m.id FROM path JOIN messages m ON m.id = path.id"
        " WHERE m.conversation_id = :conversation",
        share=share_id,
        tip=tip_id,
        conversation=conversation_id,
        limit=1_000_000_000,
    )


def include_tree(tx: Tx, share_id: str, conversation_id: str) -> None:
    """The snapshot holds every message of the conversation that is visible now."""
    tx.run(
        "INSERT INTO share_messages (share_id, message_id) SELECT CAST(:share AS TEXT), id FROM messages"
        " WHERE conversation_id = :conversation AND deletion_id IS NULL",
        share=share_id,
        conversation=conversation_id,
    )


def find_share_by_hash(tx: Tx, share_hash: str) -> tuple[Share, Account] | None:
    """What a link opens, and whose it is. None: unknown, revoked, or its conversation is deleted."""
    row = tx.one(
        Share,
        f"SELECT {_COLUMNS} FROM shares s JOIN conversations c ON c.id = s.conversation_id"
        " WHERE s.hash = :hash AND c.deletion_id IS NULL",
        hash=share_hash,
    )
    if row is None:
        return None
    account = account_rows.account_by_id(tx, row.owner_id)
    return (row, account) if account else None


def share_read_by(tx: Tx, reader: Actor) -> Share | None:
    """The share whose link this actor came with."""
    return tx.one(
        Share,
        f"SELECT {_COLUMNS} FROM shares s JOIN conversations c ON c.id = s.conversation_id"
        " WHERE s.id = :share AND s.owner_id = :owner AND c.deletion_id IS NULL",
        share=reader.share_id,
        owner=reader.account_id,
    )


def edges_read_by(tx: Tx, reader: Actor) -> list[Edge]:
    """The bare tree of what this actor's link opens, in order of creation."""
    return tx.all(
        Edge,
        f"SELECT m.id, m.parent_id, m.state {_SHOWN} ORDER BY m.id",
        share=reader.share_id,
        owner=reader.account_id,
    )


def file_read_by(tx: Tx, reader: Actor, file_id: str) -> StoredFile | None:
    """A file that a message holds which this actor's link opens."""
    return tx.one(
        StoredFile,
        f"SELECT {file_rows.COLUMNS} FROM files f WHERE f.id = :id AND f.owner_id = :owner AND EXISTS"
        f" (SELECT 1 FROM message_files x WHERE x.file_id = f.id AND x.message_id IN (SELECT m.id {_SHOWN}))",
        id=file_id,
        owner=reader.account_id,
        share=reader.share_id,
    )


def shares_of(tx: Tx, actor: Actor, conversation_id: str | None = None) -> list[Share]:
    """The actor's shares, the newest first; those of one conversation when it is named."""
    where = "" if conversation_id is None else " AND s.conversation_id = :conversation"
    parameters = {} if conversation_id is None else {"conversation": conversation_id}
    return tx.all(
        Share,
        f"SELECT {_COLUMNS} FROM shares s JOIN conversations c ON c.id = s.conversation_id"
        f" WHERE s.owner_id = :owner AND c.deletion_id IS NULL{where} ORDER BY s.id DESC",
        owner=actor.account_id,
        **parameters,
    )


def count_shares(tx: Tx, actor: Actor) -> int:
    return tx.one(int, "SELECT COUNT(*) FROM shares WHERE owner_id = :owner", owner=actor.account_id) or 0


def remove_share(tx: Tx, actor: Actor, share_id: str) -> bool:
    """Revoke a share of the actor's: nothing of it is kept. False: there is none."""
    tx.run(
        "DELETE FROM share_messages WHERE share_id IN (SELECT id FROM shares WHERE id = :id AND owner_id = :owner)",
        id=share_id,
        owner=actor.account_id,
    )
    return tx.run("DELETE FROM shares WHERE id = :id AND owner_id = :owner", id=share_id, owner=actor.account_id) == 1


def forget_message(tx: Tx, message_id: str) -> None:
    """A message is erased: it goes out of every snapshot."""
    tx.run("DELETE FROM share_messages WHERE message_id = :id", id=message_id)


def forget_conversation(tx: Tx, conversation_id: str) -> None:
    """A conversation is erased, and every link to it."""
    tx.run(
        "DELETE FROM share_messages WHERE share_id IN (SELECT id FROM shares WHERE conversation_id = :id)",
        id=conversation_id,
    )
    tx.run("DELETE FROM shares WHERE conversation_id = :id", id=conversation_id)


def purge_expired(tx: Tx, before: int) -> None:
    """Links that ended before a time."""
    tx.run(
        "DELETE FROM share_messages WHERE share_id IN (SELECT id FROM shares WHERE expires_at < :before)", before=before
    )
    tx.run("DELETE FROM shares WHERE expires_at < :before", before=before)
