"""The contents of any table, whoever it belongs to: described, read page by page, put into another database."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from chatserver.domain.extend import Migration
from chatserver.errors import SetupError
from chatserver.store.batches import parameters_of, runs_of, values_of
from chatserver.store.database import Tx, Value

DERIVED = {"search_index"}
"""What is worked out anew from the rest, in the engine's own form."""
MAX_SUM = 1 << 128
_NAME = r'"?(\w+)"?'
_MADE = re.compile(rf"\s*CREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?{_NAME}", re.IGNORECASE)
_RENAMED = re.compile(rf"\s*ALTER\s+TABLE\s+{_NAME}\s+RENAME\s+TO\s+{_NAME}", re.IGNORECASE)
_DROPPED = re.compile(rf"\s*DROP\s+TABLE\s+(?:IF\s+EXISTS\s+)?{_NAME}", re.IGNORECASE)
_NUMBERED = re.compile(r'"?(\w+)"?\s+\{identity\}')

Row = tuple[Any, ...]
Position = tuple[Any, ...]
"""Where a page ended: the key of its last row; of a table without a key, how many rows there were before."""


class Named(msgspec.Struct, frozen=True):
    """A table as the migrations tell of it. numbered: its column that counts by itself, '' for none."""

    name: str
    numbered: str = ""


class Table(msgspec.Struct, frozen=True):
    """A table as the database has it. inward: the columns that name another row of the same table."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    inward: tuple[str, ...]
    numbered: str


class Tally(msgspec.Struct, frozen=True):
    """What a table holds, whatever the order: how many rows, and the sum of their hashes."""

    rows: int
    checksum: str


class _Column(msgspec.Struct, frozen=True):
    name: str
    key_at: int


def tables_of(sets: Iterable[tuple[str, Sequence[Migration]]]) -> list[Named]:
    """Every table the migrations leave behind, those others refer to first; what is derived is left out, and so is what
    one engine alone has."""
    tables: dict[str, Named] = {}
    for _, migrations in sets:
        for statement in (sql for migration in migrations if not migration.engine for sql in migration.sql):
            if made := _MADE.match(statement):
                numbered = _NUMBERED.search(statement)
                tables[made[1]] = Named(made[1], numbered[1] if numbered else "")
            elif renamed := _RENAMED.match(statement):
                tables[renamed[2]] = msgspec.structs.replace(tables.pop(renamed[1]), name=renamed[2])
            elif dropped := _DROPPED.match(statement):
                tables.pop(dropped[1], None)
    return [table for name, table in tables.items() if name not in DERIVED]


def describe(tx: Tx, named: Named) -> Table:
    """A table's columns, key and inward references. Raises SetupError for an engine this file does not know."""
    asks = _ASKS.get(tx.engine)
    if asks is None:
        raise SetupError(f"The contents of a database of the kind {tx.engine} cannot be copied.")
    found = tx.all(_Column, asks["columns"], table=named.name)
    inward = tx.all(str, asks["inward"], table=named.name)
    key = sorted((column for column in found if column.key_at), key=lambda column: column.key_at)
    return Table(
        named.name,
        tuple(column.name for column in found),
        tuple(column.name for column in key),
        tuple(inward),
        named.numbered,
    )


def page_of(tx: Tx, table: Table, after: Position, limit: int) -> list[Row]:
    """The next rows in the order of the key, each followed by a flag per inward column: whether it names a row that
    comes later. after: () for the first page."""
    flags = [_comes_later(table, column) for column in table.inward]
    return _rows(tx, [*(f'"{column}"' for column in table.columns), *flags], table, after, limit)


def late_links(tx: Tx, table: Table, after: Position, limit: int) -> list[Row]:
    """Of the rows that name one which comes later, the next ones: key, then inward columns."""
    where = " OR ".join(f"{_comes_later(table, column)} = 1" for column in table.inward)
    return _rows(tx, [f'"{column}"' for column in (*table.key, *table.inward)], table, after, limit, where)


def next_position(table: Table, rows: Sequence[Row], after: Position) -> Position:
    """Where a page of page_of ended."""
    if not table.key:
        return (((after or (0,))[0]) + len(rows),)
    places = [table.columns.index(column) for column in table.key]
    return tuple(rows[-1][place] for place in places)


def insert(tx: Tx, table: Table, rows: Sequence[Row]) -> None:
    """Rows as page_of gives them; a reference to a row that comes later is left empty, for `link`."""
    width = len(table.columns)
    inward = [table.columns.index(column) for column in table.inward]
    ready = []
    for row in rows:
        cells = list(row[:width])
        for number, place in enumerate(inward):
            if row[width + number]:
                cells[place] = None
        ready.append(cells)
    into = f'INSERT INTO "{table.name}" ({_quoted(table.columns)}) VALUES '
    for run in runs_of(ready):
        tx.run(into + values_of(("{}",) * width, len(run)), **parameters_of(run))


def link(tx: Tx, table: Table, rows: Sequence[Row]) -> None:
    """Fill in what `insert` left empty; rows as late_links gives them."""
    sets = ", ".join(f'"{column}" = :v{number}' for number, column in enumerate(table.inward))
    where = " AND ".join(f'"{column}" = :k{number}' for number, column in enumerate(table.key))
    for row in rows:
        keys: dict[str, Value] = {f"k{number}": row[number] for number in range(len(table.key))}
        values: dict[str, Value] = {f"v{number}": row[len(table.key) + number] for number in range(len(table.inward))}
        tx.run(f'UPDATE "{table.name}" SET {sets} WHERE {where}', **keys, **values)


def count_rows(tx: Tx, name: str) -> int:
    return tx.one(int, f'SELECT COUNT(*) FROM "{name}"') or 0


def sum_of(rows: Sequence[Row], width: int) -> int:
    """The hashes of some rows, added up: the same in whatever order and pages they come, and on every engine."""
    encode = msgspec.msgpack.Encoder().encode
    total = 0
    for row in rows:
        digest = hashlib.blake2b(encode([_plain(value) for value in row[:width]]), digest_size=16).digest()
        total += int.from_bytes(digest, "big")
    return total % MAX_SUM


def last_number(tx: Tx, table: Table) -> int:
    """The highest number ever given out in the column that counts by itself, 0 for none."""
    return tx.one(int, _ASKS[tx.engine]["number"], table=table.name, column=table.numbered) or 0


def set_last_number(tx: Tx, table: Table, number: int) -> None:
    """Go on counting after `number`: what was deleted is not given out again."""
    if number < 1:
        return
    if tx.engine == "sqlite":
        if not tx.run("UPDATE sqlite_sequence SET seq = :number WHERE name = :table", number=number, table=table.name):
            tx.run("INSERT INTO sqlite_sequence (name, seq) VALUES (:table, :number)", table=table.name, number=number)
        return
    sql = "SELECT setval(pg_get_serial_sequence(:table, :column), :number)"
    tx.one(int, sql, table=table.name, column=table.numbered, number=number)


_ASKS = {
    "sqlite": {
        "columns": "SELECT name, pk AS key_at FROM pragma_table_info(:table) ORDER BY name",
        "inward": 'SELECT DISTINCT "from" FROM pragma_foreign_key_list(:table) WHERE "table" = :table ORDER BY "from"',
        "number": "SELECT seq FROM sqlite_sequence WHERE name = :table AND :column <> ''",
    },
    "postgres": {
        "columns": (
            "SELECT a.attname AS name, COALESCE(array_position(string_to_array(CAST(i.indkey AS TEXT), ' '),"
            " CAST(a.attnum AS TEXT)), 0) AS key_at"
            " FROM pg_attribute a LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary"
            " WHERE a.attrelid = to_regclass(:table) AND a.attnum > 0 AND NOT a.attisdropped"
            ' ORDER BY a.attname COLLATE "C"'
        ),
        "inward": (
            "SELECT DISTINCT a.attname FROM pg_constraint c"
            " JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = ANY(c.conkey)"
            " WHERE c.contype = 'f' AND c.conrelid = c.confrelid AND c.conrelid = to_regclass(:table)"
            " ORDER BY a.attname"
        ),
        "number": "SELECT pg_sequence_last_value(CAST(pg_get_serial_sequence(:table, :column) AS regclass))",
    },
}
"""The questions about a table itself, which each engine is asked in its own words."""


@lru_cache
def _row_type(width: int) -> type[msgspec.Struct]:
    return msgspec.defstruct("AnyRow", [(f"c{number}", Any) for number in range(width)])


def _rows(tx: Tx, chosen: Sequence[str], table: Table, after: Position, limit: int, where: str = "") -> list[Row]:
    conditions = [f"({where})"] if where else []
    parameters: dict[str, Value] = {"limit": limit}
    skip = ""
    if after and table.key:
        marks = ", ".join(f":a{number}" for number in range(len(table.key)))
        conditions.append(f"({_quoted(table.key)}) > ({marks})")
        parameters |= {f"a{number}": value for number, value in enumerate(after)}
    elif after:
        skip = " OFFSET :skip"
        parameters["skip"] = after[0]
    # Named by their place, so that no column's own name is in the way of a decoder's, nor of the order.
    cells = ", ".join(f"{cell} AS c{number}" for number, cell in enumerate(chosen))
    filtered = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    order = ", ".join(f't."{column}"' for column in table.key or table.columns)
    sql = f'SELECT {cells} FROM "{table.name}" t{filtered} ORDER BY {order} LIMIT :limit{skip}'
    return [msgspec.structs.astuple(row) for row in tx.all(_row_type(len(chosen)), sql, **parameters)]


def _comes_later(table: Table, column: str) -> str:
    """1 where the row this column names may not be there yet when the row itself is inserted in the key's order."""
    if len(table.key) == 1:
        return f'CASE WHEN "{column}" > "{table.key[0]}" THEN 1 ELSE 0 END'
    return f'CASE WHEN "{column}" IS NOT NULL THEN 1 ELSE 0 END'


def _quoted(columns: Sequence[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)


def _plain(value: Any) -> Any:
    """The same bytes for what both engines keep as the same value: PostgreSQL has no NUL in texts."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    return value
