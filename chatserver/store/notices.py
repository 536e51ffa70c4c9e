"""Notices as rows: one a source and key."""

from __future__ import annotations

import msgspec

from chatserver.domain.notices import NOTICES_LIMIT, Notice, NoticeLevel
from chatserver.store.database import Tx

_encode = msgspec.json.Encoder(order="deterministic").encode
_decode_values = msgspec.json.Decoder(dict[str, str]).decode
_COLUMNS = "source, key, level, sentence, details, told_at, read_at"


class _Row(msgspec.Struct, frozen=True):
    source: str
    key: str
    level: NoticeLevel
    sentence: str
    details: str
    told_at: int
    read_at: int | None

    def to_domain(self) -> Notice:
        values = _decode_values(self.details)
        return Notice(self.source, self.key, self.level, self.sentence, values, self.told_at, self.read_at)


def notice_of(tx: Tx, source: str, key: str) -> Notice | None:
    sql = f"SELECT {_COLUMNS} FROM notices WHERE source = :source AND key = :key"
    row = tx.one(_Row, sql, source=source, key=key)
    return row.to_domain() if row else None


def put_notice(tx: Tx, notice: Notice) -> None:
    """In place of what was said of the same thing before; the source's oldest ones make room."""
    tx.run(
        "INSERT INTO notices (source, key, level, sentence, details, told_at, read_at)"
        " VALUES (:source, :key, :level, :sentence, :details, :at, NULL) ON CONFLICT (source, key) DO UPDATE SET"
        " level = excluded.level, sentence = excluded.sentence, details = excluded.details,"
        " told_at = excluded.told_at, read_at = NULL",
        source=notice.source,
        key=notice.key,
        level=notice.level,
        sentence=notice.sentence,
        details=_encode(notice.values).decode(),
        at=notice.told_at,
    )
    surplus = tx.all(
        str,
        "SELECT key FROM notices WHERE source = :source ORDER BY told_at DESC, key LIMIT :many OFFSET :limit",
        source=notice.source,
        many=NOTICES_LIMIT,
        limit=NOTICES_LIMIT,
    )
    for key in surplus:
        remove_notice(tx, notice.source, key)


def remove_notice(tx: Tx, source: str, key: str) -> bool:
    """False: there was none."""
    return tx.run("DELETE FROM notices WHERE source = :source AND key = :key", source=source, key=key) == 1


def mark_read(tx: Tx, source: str, key: str, now: int) -> bool:
    """False: there is no such notice, or it was read before."""
    sql = "UPDATE notices SET read_at = :now WHERE source = :source AND key = :key AND read_at IS NULL"
    return tx.run(sql, source=source, key=key, now=now) == 1


def unread(tx: Tx) -> list[Notice]:
    """What nobody has put away, newest first."""
    rows = tx.all(_Row, f"SELECT {_COLUMNS} FROM notices WHERE read_at IS NULL ORDER BY told_at DESC, source, key")
    return [row.to_domain() for row in rows]


def standing(tx: Tx) -> list[Notice]:
    """All that was not taken back, put away or not, newest first."""
    rows = tx.all(_Row, f"SELECT {_COLUMNS} FROM notices ORDER BY told_at DESC, source, key")
    return [row.to_domain() for row in rows]


def count_unread(tx: Tx) -> int:
    return tx.one(int, "SELECT COUNT(*) FROM notices WHERE read_at IS NULL") or 0
