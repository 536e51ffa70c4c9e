"""What a full-text index has to do, whichever engine keeps it: the entries it stands beside, and the protocol."""

from __future__ import annotations

from typing import Protocol

import msgspec

from chatserver.domain.extend import Migration
from chatserver.store.database import Tx

ENTRIES = (
    "CREATE TABLE search_entries (id {identity}, owner_id TEXT NOT NULL, conversation_id TEXT NOT NULL,"
    " message_id TEXT NOT NULL)",
    "CREATE UNIQUE INDEX search_entries_by_place ON search_entries (conversation_id, message_id)",
    "CREATE INDEX search_entries_by_message ON search_entries (message_id)",
)


WINDOW = 200
"""How many entries are looked at first. Part of the statement: a server that expects any number expects a tenth of
the table."""


class Word(msgspec.Struct, frozen=True):
    """One word of a query, already the owner's. is_prefix: the start of a word is enough."""

    text: str
    is_prefix: bool


class Body(Protocol):
    """What an engine does its own way. Words are letters, digits and marks only, lower case, each led by its owner.

    find_sql: selects conversation_id, message_id, title, parts, at for :owner_id, :query and :limit, newest first.
    newest_sqls: the same, of the newest entries below :below only, WINDOW of them, to be asked one after the other
    before find_sql; none where that stops by itself.
    """

    migrations: list[Migration]
    find_sql: str
    newest_sqls: tuple[str, ...]

    def expect_many(self, tx: Tx) -> None: ...
    def settle(self, tx: Tx) -> None: ...
    def add(self, tx: Tx, conversation_id: str, message_id: str, words: list[str]) -> None:
        """The words of the entry that stands there."""

    def add_many(self, tx: Tx, rows: list[tuple[int, list[str]]]) -> None:
        """As add, for many entries by id, in order of their ids."""

    def remove(self, tx: Tx, entry_id: int) -> None: ...
    def query(self, words: list[Word]) -> str: ...


FIND = (
    "SELECT e.id AS id, e.conversation_id AS conversation_id, e.message_id AS message_id, c.title AS title,"
    " m.parts AS parts, COALESCE(m.created_at, c.updated_at) AS at {source}"
    " JOIN conversations c ON c.id = e.conversation_id AND c.owner_id = e.owner_id"
    " LEFT JOIN messages m ON m.id = e.message_id AND m.conversation_id = e.conversation_id"
    " WHERE {match} AND e.owner_id = :owner_id AND c.deletion_id IS NULL AND c.temporary = 0"
    " AND (e.message_id = '' OR (m.id IS NOT NULL AND m.deletion_id IS NULL)){narrowed}"
    " ORDER BY {newest} DESC LIMIT :limit"
)
NARROWED = "/* narrowed */"
"""Where a question's filters go, between what an engine finds and the order it is told in."""
