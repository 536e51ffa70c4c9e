"""PostgreSQL's full-text index of messages and titles."""

from __future__ import annotations

from chatserver.domain.extend import Migration
from chatserver.store.batches import parameters_of, runs_of, values_of
from chatserver.store.database import Tx
from chatserver.store.search_body import ENTRIES, FIND, NARROWED, WINDOW, Word


class Lexemes:
    """PostgreSQL: a tsvector of the same words beside the entries, in the order of no language, under a GIN index."""

    migrations = [
        Migration(
            "0001_first",
            (
                *ENTRIES,
                # With the entry's own columns, so that no plan can come to read the entries of others.
                "CREATE TABLE search_index (id BIGINT PRIMARY KEY, owner_id TEXT NOT NULL,"
                " conversation_id TEXT NOT NULL, message_id TEXT NOT NULL, words TSVECTOR NOT NULL)",
                # Sorted in at once: kept for later, one message in a hundred waited 50 ms for all the others.
                "CREATE INDEX search_index_words ON search_index USING gin (words) WITH (fastupdate = off)",
            ),
        ),
        Migration("0002_newest", ("CREATE INDEX search_index_by_owner ON search_index (owner_id, id)",)),
    ]
    # No index but that of the words: a word nobody wrote is not worth a list of all one's messages (hence || and +).
    # First all that match, then the newest of them: the other way round every message of the house might be read.
    _matching = (
        "WITH e AS MATERIALIZED (SELECT id, owner_id, conversation_id, message_id FROM search_index"
        " WHERE words @@ CAST(:query AS TSQUERY) AND owner_id || '' = :owner_id"
    )
    _shown = FIND.format(source="FROM e", match="TRUE", newest="e.id", narrowed=NARROWED)
    find_sql = f"{_matching}) {_shown}"
    newest_sqls: tuple[str, ...] = (
        # A word of every fourth message stands in enough of the last ones: the index of words would gather all of them.
        "WITH e AS MATERIALIZED (SELECT id, owner_id, conversation_id, message_id FROM (SELECT * FROM search_index"
        f" WHERE owner_id = :owner_id AND id < :below ORDER BY id DESC LIMIT {WINDOW}) AS newest"
        f" WHERE words @@ CAST(:query AS TSQUERY)) {_shown}",
        # Of a less frequent one, only so many are joined with what they stand in.
        f"{_matching} AND id + 0 < :below ORDER BY id DESC LIMIT {WINDOW}) {_shown}",
    )

    def expect_many(self, tx: Tx) -> None:
        tx.run(f"ALTER INDEX search_index_words SET (fastupdate = on, gin_pending_list_limit = {GATHERED_KB})")

    def settle(self, tx: Tx) -> None:
        tx.run("ALTER INDEX search_index_words SET (fastupdate = off)")
        tx.one(int, "SELECT gin_clean_pending_list('search_index_words')")

    def add(self, tx: Tx, conversation_id: str, message_id: str, words: list[str]) -> None:
        tx.queue(
            "INSERT INTO search_index (id, owner_id, conversation_id, message_id, words)"
            " SELECT id, owner_id, conversation_id, message_id, array_to_tsvector(string_to_array(:words, ' '))"
            " FROM search_entries WHERE conversation_id = :conversation_id AND message_id = :message_id",
            conversation_id=conversation_id,
            message_id=message_id,
            words=" ".join(_that_fit(words)),
        )

    def add_many(self, tx: Tx, rows: list[tuple[int, list[str]]]) -> None:
        cells = ("CAST({} AS BIGINT)", "CAST({} AS TEXT)")
        for run in runs_of(rows):
            tx.run(
                "INSERT INTO search_index (id, owner_id, conversation_id, message_id, words)"
                " SELECT e.id, e.owner_id, e.conversation_id, e.message_id,"
                " array_to_tsvector(string_to_array(v.words, ' '))"
                f" FROM (VALUES {values_of(cells, len(run))}) AS v (id, words) JOIN search_entries e ON e.id = v.id",
                **parameters_of([(entry_id, " ".join(_that_fit(words))) for entry_id, words in run]),
            )

    def remove(self, tx: Tx, entry_id: int) -> None:
        tx.run("DELETE FROM search_index WHERE id = :id", id=entry_id)

    def query(self, words: list[Word]) -> str:
        return " & ".join(f"'{word.text}':*" if word.is_prefix else f"'{word.text}'" for word in words)


GATHERED_KB = 1024
"""Sorting in so much takes some fifty milliseconds, for whoever it falls to."""
MAX_LEXEMES_BYTES = 1_000_000
"""A tsvector holds a megabyte: of a text beyond some 100,000 Chinese characters, the first words are found."""


def _that_fit(words: list[str]) -> list[str]:
    size = 0
    for number, word in enumerate(words):
        size += len(word.encode())
        if size > MAX_LEXEMES_BYTES:
            return words[:number]
    return words
