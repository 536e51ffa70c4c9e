"""Files as rows: whose they are, which content they have, and which messages name them."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from chatserver.domain.access import Actor
from chatserver.domain.files import Rendition, RenditionKind, StoredFile, file_ids
from chatserver.domain.messages import Parts
from chatserver.store.database import Tx

COLUMNS = (
    "f.id, f.owner_id, f.name, f.media_type, f.size_bytes, f.stored_bytes, f.sha256, f.created_at, f.width, f.height,"
    " f.charset, f.tokens"
)
_NAMED = (
    "(EXISTS (SELECT 1 FROM message_files m WHERE m.file_id = f.id)"
    " OR EXISTS (SELECT 1 FROM file_holds h WHERE h.file_id = f.id))"
)


class Usage(msgspec.Struct, frozen=True):
    """How many files an account has, and what all of them take."""

    files: int
    used_bytes: int


class Unused(msgspec.Struct, frozen=True):
    id: str
    owner_id: str


def lock_files(tx: Tx, account_id: str) -> None:
    """Held by who adds, names or takes away files of an account."""
    tx.lock(f"files {account_id}")


def insert_file(tx: Tx, file: StoredFile, renditions: Iterable[Rendition]) -> None:
    """The caller has said of every content that it is used."""
    tx.run(
        "INSERT INTO files (id, owner_id, name, media_type, size_bytes, stored_bytes, sha256, width, height, charset,"
        " tokens, is_used, created_at) VALUES (:id, :owner, :name, :type, :size, :stored, :sha, :width, :height,"
        " :charset, :tokens, 0, :at)",
        id=file.id,
        owner=file.owner_id,
        name=file.name,
        type=file.media_type,
        size=file.size_bytes,
        stored=file.stored_bytes,
        sha=file.sha256,
        width=file.width,
        height=file.height,
        charset=file.charset,
        tokens=file.tokens,
        at=file.created_at,
    )
    for one in renditions:
        tx.run(
            "INSERT INTO file_renditions (file_id, kind, sha256, media_type, size_bytes, width, height)"
            " VALUES (:file, :kind, :sha, :type, :size, :width, :height)",
            file=file.id,
            kind=one.kind,
            sha=one.sha256,
            type=one.media_type,
            size=one.size_bytes,
            width=one.width,
            height=one.height,
        )


def file_of(tx: Tx, actor: Actor, file_id: str) -> StoredFile | None:
    """A file of the actor's, or None: unknown and somebody else's look the same."""
    return file_owned_by(tx, actor.account_id, file_id)


def file_owned_by(tx: Tx, owner_id: str, file_id: str) -> StoredFile | None:
    """For work in an owner's name: see file_of."""
    return tx.one(
        StoredFile,
        f"SELECT {COLUMNS} FROM files f WHERE f.id = :id AND f.owner_id = :owner",
        id=file_id,
        owner=owner_id,
    )


def is_taken(tx: Tx, file_id: str) -> bool:
    """Asked of an id a file would get; tells the caller nothing but whether it is free."""
    return tx.one(int, "SELECT 1 FROM files WHERE id = :id", id=file_id) is not None


def files_of(tx: Tx, actor: Actor, after: str, limit: int) -> list[StoredFile]:
    """The actor's files, the newest first; after: the id of the last one of the page before, '' for the first."""
    return tx.all(
        StoredFile,
        f"SELECT {COLUMNS} FROM files f WHERE f.owner_id = :owner AND (:after = '' OR f.id < :after)"
        " ORDER BY f.id DESC LIMIT :limit",
        owner=actor.account_id,
        after=after,
        limit=limit,
    )


def rendition_of(tx: Tx, actor: Actor, file_id: str, kind: RenditionKind) -> Rendition | None:
    return tx.one(
        Rendition,
        "SELECT r.kind, r.sha256, r.media_type, r.size_bytes, r.width, r.height FROM file_renditions r"
        " JOIN files f ON f.id = r.file_id WHERE r.file_id = :id AND r.kind = :kind AND f.owner_id = :owner",
        id=file_id,
        kind=kind,
        owner=actor.account_id,
    )


def renditions_of(tx: Tx, actor: Actor, file_id: str) -> list[Rendition]:
    return tx.all(
        Rendition,
        "SELECT r.kind, r.sha256, r.media_type, r.size_bytes, r.width, r.height FROM file_renditions r"
        " JOIN files f ON f.id = r.file_id WHERE r.file_id = :id AND f.owner_id = :owner ORDER BY r.kind",
        id=file_id,
        owner=actor.account_id,
    )


def give_file(tx: Tx, actor: Actor, file: StoredFile, file_id: str, now: int) -> None:
    """A file of the actor's own with what another's holds, under this id; the caller may read the other. Again is
    once. It is new, so that it is not collected before a message names it."""
    if is_taken(tx, file_id):
        return
    given = msgspec.structs.replace(file, id=file_id, owner_id=actor.account_id, created_at=now)
    made = tx.all(
        Rendition,
        "SELECT kind, sha256, media_type, size_bytes, width, height FROM file_renditions WHERE file_id = :id",
        id=file.id,
    )
    insert_file(tx, given, made)


def usage_of(tx: Tx, account_id: str) -> Usage:
    sql = (
        "SELECT COUNT(*) AS files, CAST(COALESCE(SUM(stored_bytes), 0) AS BIGINT) AS used_bytes FROM files"
        " WHERE owner_id = :owner"
    )
    return tx.one(Usage, sql, owner=account_id) or Usage(0, 0)


def name_files(tx: Tx, message_id: str, parts: Parts) -> None:
    """Tie the files a message holds to it, so that none vanishes while it is there. A file that its owner does not have
    is passed over: an import may name what did not come with it."""
    for file_id in file_ids(parts):
        tied = tx.run(
            "INSERT INTO message_files (message_id, file_id) SELECT m.id, f.id FROM messages m"
            " JOIN conversations c ON c.id = m.conversation_id JOIN files f ON f.owner_id = c.owner_id"
            " WHERE m.id = :message AND f.id = :file ON CONFLICT (message_id, file_id) DO NOTHING",
            message=message_id,
            file=file_id,
        )
        if tied:
            tx.run("UPDATE files SET is_used = 1 WHERE id = :id AND is_used = 0", id=file_id)


def messages_naming(tx: Tx, actor: Actor, file_id: str) -> int:
    """How many messages hold a file, deleted ones that can be taken back included."""
    sql = (
        "SELECT COUNT(*) FROM message_files m JOIN files f ON f.id = m.file_id"
        " WHERE m.file_id = :id AND f.owner_id = :owner"
    )
    return tx.one(int, sql, id=file_id, owner=actor.account_id) or 0


def hold_file(tx: Tx, actor: Actor, file_id: str, holder: str) -> bool:
    """Keep a file for a holder, whatever messages name it. False: it is not the actor's."""
    if file_of(tx, actor, file_id) is None:
        return False
    tx.run(
        "INSERT INTO file_holds (file_id, holder) VALUES (:id, :holder) ON CONFLICT (file_id, holder) DO NOTHING",
        id=file_id,
        holder=holder,
    )
    tx.run("UPDATE files SET is_used = 1 WHERE id = :id AND is_used = 0", id=file_id)
    return True


def drop_file(tx: Tx, actor: Actor, file_id: str, holder: str) -> None:
    if file_of(tx, actor, file_id) is not None:
        tx.run("DELETE FROM file_holds WHERE file_id = :id AND holder = :holder", id=file_id, holder=holder)


def is_held(tx: Tx, actor: Actor, file_id: str) -> bool:
    sql = (
        "SELECT 1 FROM file_holds h JOIN files f ON f.id = h.file_id WHERE h.file_id = :id AND f.owner_id = :owner"
        " LIMIT 1"
    )
    return tx.one(int, sql, id=file_id, owner=actor.account_id) is not None


def delete_file(tx: Tx, actor: Actor, file_id: str) -> None:
    """Take a file away that nothing names."""
    tx.run("DELETE FROM files WHERE id = :id AND owner_id = :owner", id=file_id, owner=actor.account_id)


def unused_files(tx: Tx, before: int, limit: int) -> list[Unused]:
    """Files that nothing names any more, and those brought in before a time and never named."""
    return tx.all(
        Unused,
        f"SELECT f.id, f.owner_id FROM files f WHERE (f.is_used = 1 OR f.created_at < :before) AND NOT {_NAMED}"
        " ORDER BY f.id LIMIT :limit",
        before=before,
        limit=limit,
    )


def collect_file(tx: Tx, file: Unused, before: int) -> None:
    """Take one of them away, unless something came to name it meanwhile."""
    lock_files(tx, file.owner_id)
    tx.run(
        "DELETE FROM files WHERE id = :id AND (is_used = 1 OR created_at < :before)"
        " AND NOT EXISTS (SELECT 1 FROM message_files m WHERE m.file_id = files.id)"
        " AND NOT EXISTS (SELECT 1 FROM file_holds h WHERE h.file_id = files.id)",
        id=file.id,
        before=before,
    )
