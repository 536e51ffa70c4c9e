"""What files hold, enclosed in a backup: in pieces in a table of their own, found and checked by their hash."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator

import msgspec

from chatserver.errors import NotFound

TABLE = "backup_contents"
PIECE_BYTES = 4 * 1024 * 1024
MAX_PROBLEMS = 20
_NAMED = (
    "SELECT sha256, size_bytes FROM blobs b WHERE EXISTS (SELECT 1 FROM files f WHERE f.sha256 = b.sha256)"
    " OR EXISTS (SELECT 1 FROM file_renditions r WHERE r.sha256 = b.sha256)"
    " OR EXISTS (SELECT 1 FROM blob_holds h WHERE h.sha256 = b.sha256) ORDER BY sha256"
)
ReadContent = Callable[[str], Iterable[bytes]]
"""Given a hash: its content in chunks. Raises NotFound."""


class Enclosed(msgspec.Struct, frozen=True):
    """How much was enclosed, and the hashes of what the database names and nobody had."""

    contents: int = 0
    size_bytes: int = 0
    missing: tuple[str, ...] = ()


class Content(msgspec.Struct, frozen=True):
    sha256: str
    size_bytes: int


def enclose(copy: sqlite3.Connection, read: ReadContent) -> Enclosed:
    """Put everything the database names into it. A content that is missing is told, and does not stop the others."""
    copy.execute(f"DROP TABLE IF EXISTS {TABLE}")
    copy.execute(
        f"CREATE TABLE {TABLE} (sha256 TEXT NOT NULL, number INTEGER NOT NULL, body BLOB NOT NULL,"
        " PRIMARY KEY (sha256, number))"
    )
    count = size_bytes = 0
    missing = []
    for wanted in named(copy):
        copy.execute("BEGIN")
        try:
            for number, piece in enumerate(_pieces(read(wanted.sha256))):
                copy.execute(f"INSERT INTO {TABLE} VALUES (?, ?, ?)", (wanted.sha256, number, piece))
        except NotFound:
            copy.execute("ROLLBACK")
            missing.append(wanted.sha256)
            continue
        copy.execute("COMMIT")
        count += 1
        size_bytes += wanted.size_bytes
    return Enclosed(count, size_bytes, tuple(missing))


def named(connection: sqlite3.Connection) -> list[Content]:
    """What the database says there is; nothing in one from before there were files."""
    if not _has(connection, "blobs"):
        return []
    return [Content(*row) for row in connection.execute(_NAMED)]


def enclosed(connection: sqlite3.Connection) -> list[str]:
    """The hashes of what lies in a backup."""
    if not _has(connection, TABLE):
        return []
    return [row[0] for row in connection.execute(f"SELECT DISTINCT sha256 FROM {TABLE} ORDER BY sha256")]


def pieces_of(connection: sqlite3.Connection, sha256: str) -> Iterator[bytes]:
    for (body,) in connection.execute(f"SELECT body FROM {TABLE} WHERE sha256 = ? ORDER BY number", (sha256,)):
        yield body


def problems(connection: sqlite3.Connection, missing: Iterable[str]) -> list[str]:
    """What of a backup that encloses contents is damaged, or lacking besides what it said was missing."""
    there = set(enclosed(connection))
    found = []
    for wanted in named(connection):
        if wanted.sha256 not in there:
            if wanted.sha256 not in missing:
                found.append(f"the content {wanted.sha256} is not in it")
            continue
        digest = hashlib.sha256()
        size = 0
        for piece in pieces_of(connection, wanted.sha256):
            digest.update(piece)
            size += len(piece)
        if size != wanted.size_bytes or digest.hexdigest() != wanted.sha256:
            found.append(f"the content {wanted.sha256} is not what was stored")
        if len(found) >= MAX_PROBLEMS:
            break
    return found


def remove(connection: sqlite3.Connection) -> None:
    """Leave the database alone, and no larger than it is."""
    if _has(connection, TABLE):
        connection.execute(f"DROP TABLE {TABLE}")
        connection.execute("VACUUM")


def _has(connection: sqlite3.Connection, table: str) -> bool:
    sql = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    return connection.execute(sql, (table,)).fetchone() is not None


def _pieces(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """At least one, so that an empty content is there as well."""
    buffer = bytearray()
    is_first = True
    for chunk in chunks:
        buffer += chunk
        while len(buffer) >= PIECE_BYTES:
            yield bytes(buffer[:PIECE_BYTES])
            del buffer[:PIECE_BYTES]
            is_first = False
    if buffer or is_first:
        yield bytes(buffer)
