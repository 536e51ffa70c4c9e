"""Search in one's own messages and titles: the one question asked differently of each engine."""

from __future__ import annotations

import hashlib
from base64 import b32encode
from collections.abc import Iterable

import msgspec

from chatserver.domain.conversations import Hit
from chatserver.domain.extend import Migration
from chatserver.domain.filing import SearchFilter
from chatserver.domain.messages import decode_parts, text_of
from chatserver.store.batches import parameters_of, runs_of, values_of
from chatserver.store.database import Tx
from chatserver.store.passages import marks_in, passage
from chatserver.store.search_body import NARROWED, Body, Word
from chatserver.store.search_fts5 import Fts5
from chatserver.store.search_lexemes import Lexemes
from chatserver.store.words import MAX_WORD, fold, runs, words_of

MAX_QUERY = 1_000
MAX_QUERY_WORDS = 24
_ABOVE_ALL = 2**62
_BODIES: dict[str, Body] = {"sqlite": Fts5(), "postgres": Lexemes()}


def migrations(engine: str) -> list[Migration]:
    """The set `search` of an engine."""
    return _BODIES[engine].migrations


def expect_many(tx: Tx) -> None:
    """Many texts are coming: until `settle` they are gathered and sorted in at once, where that is cheaper."""
    _BODIES[tx.engine].expect_many(tx)


def settle(tx: Tx) -> None:
    """No more are coming. Left out, as by a process that was killed, it costs others a moment now and then."""
    _BODIES[tx.engine].settle(tx)


def index_new_message(tx: Tx, *, owner_id: str, conversation_id: str, message_id: str, text: str) -> None:
    """As index_message, for a message whose text is new in this transaction, so that nothing is found by it yet."""
    _add(tx, owner_id, conversation_id, message_id, text)


def index_message(tx: Tx, *, owner_id: str, conversation_id: str, message_id: str, text: str) -> None:
    """Make a message findable by `text`, in place of what it was found by. Passages come from its stored parts."""
    _forget(tx, _entries_of_message(tx, message_id))
    _add(tx, owner_id, conversation_id, message_id, text)


class NewText(msgspec.Struct, frozen=True):
    """What a message that was just inserted is to be found by."""

    owner_id: str
    conversation_id: str
    message_id: str
    text: str


def index_new_messages(tx: Tx, texts: Iterable[NewText]) -> None:
    """As index_message, for many that were inserted in this transaction and so are not found by anything yet."""
    found = {text.message_id: (text, words) for text in texts if (words := words_of(text.text))}
    rows: list[tuple[int, list[str]]] = []
    for run in runs_of(list(found.values())):
        tx.run(
            "INSERT INTO search_entries (owner_id, conversation_id, message_id)"
            f" VALUES {values_of(('{}', '{}', '{}'), len(run))}",
            **parameters_of([(text.owner_id, text.conversation_id, text.message_id) for text, _ in run]),
        )
        entries = tx.all(
            _Entry,
            f"SELECT id, message_id FROM search_entries WHERE message_id IN {values_of(('{}',) * len(run), 1)}",
            **parameters_of([[text.message_id for text, _ in run]]),
        )
        assert len(entries) == len(run)
        for entry in entries:
            text, words = found[entry.message_id]
            owner = _owner(text.owner_id)
            rows.append((entry.id, [owner + word for word in words]))
    _BODIES[tx.engine].add_many(tx, sorted(rows))  # last: see add_many of SQLite's


def fill_index(tx: Tx, after: int, limit: int) -> int | None:
    """Index the next entries above `after`, whose words were never stored here, from their titles and messages.

    Returns the last entry looked at, None when there was none left.
    """
    rows = tx.all(
        _Unindexed,
        "SELECT e.id, e.owner_id, c.title, m.parts FROM search_entries e"
        " LEFT JOIN conversations c ON c.id = e.conversation_id LEFT JOIN messages m ON m.id = e.message_id"
        " WHERE e.id > :after ORDER BY e.id LIMIT :limit",
        after=after,
        limit=limit,
    )
    found: list[tuple[int, list[str]]] = []
    for row in rows:
        text = text_of(decode_parts(row.parts)) if row.parts is not None else row.title or ""
        owner = _owner(row.owner_id)
        found.append((row.id, [owner + word for word in words_of(text)]))
    _BODIES[tx.engine].add_many(tx, found)
    return rows[-1].id if rows else None


class _Unindexed(msgspec.Struct, frozen=True):
    id: int
    owner_id: str
    title: str | None
    parts: str | None


class _Entry(msgspec.Struct, frozen=True):
    id: int
    message_id: str


def index_title(tx: Tx, *, owner_id: str, conversation_id: str, title: str) -> None:
    sql = "SELECT id FROM search_entries WHERE conversation_id = :conversation_id AND message_id = ''"
    _forget(tx, tx.all(int, sql, conversation_id=conversation_id))
    _add(tx, owner_id, conversation_id, "", title)


def forget_messages(tx: Tx, message_ids: Iterable[str]) -> None:
    for message_id in message_ids:
        _forget(tx, _entries_of_message(tx, message_id))


def forget_conversation(tx: Tx, conversation_id: str) -> None:
    """Its title and all its messages."""
    sql = "SELECT id FROM search_entries WHERE conversation_id = :conversation_id"
    _forget(tx, tx.all(int, sql, conversation_id=conversation_id))


class Found(msgspec.Struct, frozen=True):
    id: int
    conversation_id: str
    message_id: str
    title: str
    parts: str | None
    at: int


def find(
    tx: Tx,
    *,
    owner_id: str,
    query: str,
    limit: int = 50,
    wanted: SearchFilter = SearchFilter(),
    before: int = 0,
) -> list[Hit]:
    """Messages and titles of one owner that hold every word of `query`, the newest first; the last word may be begun
    only. Any text is a query; one without words finds nothing. Hit.text is a passage of at most 240 characters.

    before: the cursor of the last hit of the page before.
    """
    asked = list(runs(fold(query[:MAX_QUERY])))
    words = _query_words(owner_id, asked)
    if not words:
        return []
    body = _BODIES[tx.engine]
    narrowed, parameters = _narrow(wanted, before)
    asking = {"owner_id": owner_id, "query": body.query(words), "limit": limit, **parameters}
    rows: list[Found] = []
    for sql in body.newest_sqls:
        rows = tx.all(Found, sql.replace(NARROWED, narrowed), **asking, below=before or _ABOVE_ALL)
        if not rows or len(rows) == limit:
            break
    if len(rows) < limit:  # a rare word, or a filter that leaves most of them out
        rows = tx.all(Found, body.find_sql.replace(NARROWED, narrowed), **asking)
    needles = sorted((run for run, _ in asked), key=len, reverse=True)
    pairs = [run[start : start + 2] for run, is_unspaced in asked if is_unspaced for start in range(len(run) - 1)]
    hits = []
    for row in rows:
        text = row.title if row.parts is None else text_of(decode_parts(row.parts))
        shown = passage(text, needles + pairs)
        hits.append(
            Hit(
                row.conversation_id,
                row.message_id,
                shown,
                row.title,
                row.at,
                marks=marks_in(shown, needles),
                cursor=row.id,
            )
        )
    return hits


def _narrow(wanted: SearchFilter, before: int) -> tuple[str, dict[str, str | int]]:
    """The conditions of a filter on a hit's conversation and message, and their parameters."""
    conditions: dict[str, tuple[str, str | int]] = {
        "before": ("e.id < :before", before),
        "model": ("m.model = :model", wanted.model),
        "role": ("m.role = :role", wanted.role),
        "folder": ("c.folder_id = :folder", wanted.folder_id),
        "tag": (
            "c.id IN (SELECT t.conversation_id FROM conversation_tags t WHERE t.owner_id = :owner_id AND t.tag = :tag)",
            wanted.tag,
        ),
        "since": ("COALESCE(m.created_at, c.updated_at) >= :since", wanted.since),
        "until": ("COALESCE(m.created_at, c.updated_at) < :until", wanted.until),
    }
    used = {name: one for name, one in conditions.items() if one[1]}
    return "".join(f" AND {sql}" for sql, _ in used.values()), {name: value for name, (_, value) in used.items()}


def _query_words(owner_id: str, asked: list[tuple[str, bool]]) -> list[Word]:
    owner = _owner(owner_id)
    found: dict[str, bool] = {}
    for number, (run, is_unspaced) in enumerate(asked):
        is_last = number == len(asked) - 1
        if is_unspaced and len(run) > 1:
            for start in range(len(run) - 1):
                found.setdefault(run[start : start + 2], False)
        else:
            word = run[:MAX_WORD]
            found[word] = found.get(word, True) and (is_unspaced or is_last)
    return [Word(owner + word, is_prefix) for word, is_prefix in list(found.items())[:MAX_QUERY_WORDS]]


def _owner(owner_id: str) -> str:
    """Four letters before each word of an owner, so that a search reads that owner's words only. Two owners may share
    them; the owner's whole id is compared as well."""
    return b32encode(hashlib.blake2b(owner_id.encode(), digest_size=5).digest()).decode().lower()[:4]


def _add(tx: Tx, owner_id: str, conversation_id: str, message_id: str, text: str) -> None:
    words = words_of(text)
    if not words:
        return
    owner = _owner(owner_id)
    place = {"conversation_id": conversation_id, "message_id": message_id}
    tx.queue(  # no RETURNING: beside it FTS5 writes out what it holds, one segment a message
        "INSERT INTO search_entries (owner_id, conversation_id, message_id)"
        " VALUES (:owner_id, :conversation_id, :message_id)",
        owner_id=owner_id,
        **place,
    )
    _BODIES[tx.engine].add(tx, conversation_id, message_id, [owner + word for word in words])


def _entries_of_message(tx: Tx, message_id: str) -> list[int]:
    return tx.all(int, "SELECT id FROM search_entries WHERE message_id = :message_id", message_id=message_id)


def _forget(tx: Tx, entry_ids: list[int]) -> None:
    body = _BODIES[tx.engine]
    for entry_id in entry_ids:
        body.remove(tx, entry_id)
        tx.run("DELETE FROM search_entries WHERE id = :id", id=entry_id)
