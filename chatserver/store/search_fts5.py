"""SQLite's full-text index of messages and titles."""

from __future__ import annotations

from chatserver.domain.extend import Migration
from chatserver.store.database import Tx
from chatserver.store.search_body import ENTRIES, FIND, NARROWED, Word

_ENTRY_OF = "SELECT id FROM search_entries WHERE conversation_id = :conversation_id AND message_id = :message_id"


class Fts5:
    """SQLite: an FTS5 table beside the entries. Only which word stands where is kept, no positions and no ranks."""

    migrations = [
        Migration(
            "0001_first",
            (
                *ENTRIES,
                "CREATE VIRTUAL TABLE search_index USING fts5(words, tokenize='ascii', detail='none', columnsize=0)",
            ),
        )
    ]
    find_sql = FIND.format(
        source="FROM search_index CROSS JOIN search_entries e ON e.id = search_index.rowid",
        match="search_index MATCH :query",
        newest="search_index.rowid",
        narrowed=NARROWED,
    )
    newest_sqls: tuple[str, ...] = ()

    def expect_many(self, tx: Tx) -> None:
        """FTS5 gathers what one transaction brings by itself."""

    def settle(self, tx: Tx) -> None:
        """Nothing was changed."""

    def add(self, tx: Tx, conversation_id: str, message_id: str, words: list[str]) -> None:
        entry_id = tx.one(int, _ENTRY_OF, conversation_id=conversation_id, message_id=message_id)
        assert entry_id is not None
        self._add(tx, entry_id, words)

    def _add(self, tx: Tx, entry_id: int, words: list[str]) -> None:
        tx.queue("INSERT INTO search_index (rowid, words) VALUES (:id, :words)", id=entry_id, words=" ".join(words))

    def add_many(self, tx: Tx, rows: list[tuple[int, list[str]]]) -> None:
        # One by one, and nothing between: beside a statement of many rows FTS5 writes out what it holds each time.
        for entry_id, words in rows:
            self._add(tx, entry_id, words)

    def remove(self, tx: Tx, entry_id: int) -> None:
        tx.run("DELETE FROM search_index WHERE rowid = :id", id=entry_id)

    def query(self, words: list[Word]) -> str:
        return " AND ".join(f'"{word.text}"*' if word.is_prefix else f'"{word.text}"' for word in words)
