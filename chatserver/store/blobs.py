"""Which contents there are, and which of them nothing names any more; what they hold lies in the blob store."""

from __future__ import annotations

from typing import Literal

import msgspec

from chatserver.store.database import Tx

_NAMED = (
    "(EXISTS (SELECT 1 FROM files f WHERE f.sha256 = b.sha256)"
    " OR EXISTS (SELECT 1 FROM file_renditions r WHERE r.sha256 = b.sha256)"
    " OR EXISTS (SELECT 1 FROM blob_holds h WHERE h.sha256 = b.sha256))"
)
_REMOVABLE = "((unused_since < :before AND is_going = 0) OR (unused_since < :left_before AND is_going = 1))"
"""Of what is going, unused_since says when that began."""
Reserved = Literal["there", "going"]


class BlobRow(msgspec.Struct, frozen=True):
    sha256: str
    size_bytes: int


class _State(msgspec.Struct, frozen=True):
    is_going: bool


def lock_blob(tx: Tx, sha256: str) -> None:
    tx.lock(f"blob {sha256}")


def reserve(tx: Tx, sha256: str, size_bytes: int, now: int) -> Reserved:
    """Say that content is about to be stored, before it is: from now on it is safe from being taken away for a while.
    `going`: it is being taken away at this very moment; ask again."""
    lock_blob(tx, sha256)
    known = tx.one(_State, "SELECT is_going FROM blobs WHERE sha256 = :sha", sha=sha256)
    if known is None:
        tx.run(
            "INSERT INTO blobs (sha256, size_bytes, created_at, unused_since, is_going)"
            " VALUES (:sha, :size, :now, :now, 0)",
            sha=sha256,
            size=size_bytes,
            now=now,
        )
    elif known.is_going:
        return "going"
    else:
        tx.run(
            "UPDATE blobs SET unused_since = :now WHERE sha256 = :sha AND unused_since IS NOT NULL", now=now, sha=sha256
        )
    return "there"


def use(tx: Tx, sha256: str) -> bool:
    """Something is about to name this content, in this transaction. False: it is not there, or going."""
    lock_blob(tx, sha256)
    return bool(tx.run("UPDATE blobs SET unused_since = NULL WHERE sha256 = :sha AND is_going = 0", sha=sha256))


def hold(tx: Tx, holder: str, sha256: str, now: int) -> bool:
    """Name content in a holder's own name; twice is once. False: it is not there, or going."""
    if not use(tx, sha256):
        return False
    tx.run(
        "INSERT INTO blob_holds (holder, sha256, created_at) VALUES (:holder, :sha, :now)"
        " ON CONFLICT (holder, sha256) DO NOTHING",
        holder=holder,
        sha=sha256,
        now=now,
    )
    return True


def holds(tx: Tx, holder: str, sha256: str) -> bool:
    return (
        tx.one(int, "SELECT 1 FROM blob_holds WHERE holder = :holder AND sha256 = :sha", holder=holder, sha=sha256)
        is not None
    )


def drop(tx: Tx, holder: str, sha256: str) -> None:
    tx.run("DELETE FROM blob_holds WHERE holder = :holder AND sha256 = :sha", holder=holder, sha=sha256)


def page_of_blobs(tx: Tx, after: str, limit: int) -> list[BlobRow]:
    """All that is reserved or named, in the order of the hashes."""
    return tx.all(
        BlobRow,
        "SELECT sha256, size_bytes FROM blobs WHERE sha256 > :after ORDER BY sha256 LIMIT :limit",
        after=after,
        limit=limit,
    )


def page_of_named(tx: Tx, after: str, limit: int) -> list[BlobRow]:
    """What something names, and must so be in the store."""
    return tx.all(
        BlobRow,
        f"SELECT b.sha256, b.size_bytes FROM blobs b WHERE b.sha256 > :after AND {_NAMED}"
        " ORDER BY b.sha256 LIMIT :limit",
        after=after,
        limit=limit,
    )


def is_known(tx: Tx, sha256: str) -> bool:
    return tx.one(int, "SELECT 1 FROM blobs WHERE sha256 = :sha", sha=sha256) is not None


# --- taking away what nothing names --------------------------------------------------------------------------------


def newly_unused(tx: Tx, limit: int) -> list[str]:
    """What nothing names and is not marked so yet."""
    return tx.all(
        str,
        f"SELECT b.sha256 FROM blobs b WHERE b.unused_since IS NULL AND NOT {_NAMED} ORDER BY b.sha256 LIMIT :limit",
        limit=limit,
    )


def mark_unused(tx: Tx, sha256: str, now: int) -> None:
    lock_blob(tx, sha256)
    tx.run(
        "UPDATE blobs SET unused_since = :now WHERE sha256 = :sha AND unused_since IS NULL"
        f" AND NOT EXISTS (SELECT 1 FROM blobs b WHERE b.sha256 = :sha AND {_NAMED})",
        now=now,
        sha=sha256,
    )


def long_unused(tx: Tx, before: int, left_before: int, limit: int) -> list[str]:
    """What was unused before a time, and what somebody began to take away before another and did not finish."""
    return tx.all(
        str,
        f"SELECT sha256 FROM blobs WHERE {_REMOVABLE} ORDER BY sha256 LIMIT :limit",
        before=before,
        left_before=left_before,
        limit=limit,
    )


def begin_removal(tx: Tx, sha256: str, before: int, left_before: int, now: int) -> bool:
    """From here on nobody may name it, and for a while nobody else takes it away. False: somebody does the one or the
    other, or was about to a moment ago."""
    lock_blob(tx, sha256)
    return bool(
        tx.run(
            f"UPDATE blobs SET is_going = 1, unused_since = :now WHERE sha256 = :sha AND {_REMOVABLE}"
            f" AND NOT EXISTS (SELECT 1 FROM blobs b WHERE b.sha256 = :sha AND {_NAMED})",
            sha=sha256,
            before=before,
            left_before=left_before,
            now=now,
        )
    )


def begin_removal_of_stray(tx: Tx, sha256: str, size_bytes: int, now: int) -> bool:
    """As begin_removal, for content in the store that no row knows. False: one does by now."""
    lock_blob(tx, sha256)
    return bool(
        tx.run(
            "INSERT INTO blobs (sha256, size_bytes, created_at, unused_since, is_going)"
            " VALUES (:sha, :size, :now, :now, 1) ON CONFLICT (sha256) DO NOTHING",
            sha=sha256,
            size=size_bytes,
            now=now,
        )
    )


def end_removal(tx: Tx, sha256: str) -> None:
    """The store has it no more."""
    lock_blob(tx, sha256)
    tx.run("DELETE FROM blobs WHERE sha256 = :sha AND is_going = 1", sha=sha256)
