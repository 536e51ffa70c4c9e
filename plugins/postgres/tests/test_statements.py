"""What goes over the wire: parameters numbered, everything that only looks like one left alone."""

from __future__ import annotations

import pytest
from chatserver_postgres.statements import BYTEA, FLOAT8, INT8, TEXT, UNKNOWN, encode, translate, widen


@pytest.mark.parametrize(
    ("sql", "text", "names"),
    [
        ("SELECT :a, :b, :a", "SELECT $1, $2, $1", ("a", "b")),
        ("SELECT ':a', ':b''s :c', :d", "SELECT ':a', ':b''s :c', $1", ("d",)),
        ('SELECT ":a" FROM "t:x" WHERE y=:y', 'SELECT ":a" FROM "t:x" WHERE y=$1', ("y",)),
        ("SELECT x::text, :y::int FROM t", "SELECT x::text, $1::int FROM t", ("y",)),
        ("SELECT 1 -- :a\n, :b", "SELECT 1 -- :a\n, $1", ("b",)),
        ("SELECT /* :a ' */ :b", "SELECT /* :a ' */ $1", ("b",)),
        ("SELECT '100%' LIKE :p, 5 % 3, '?'", "SELECT '100%' LIKE $1, 5 % 3, '?'", ("p",)),
        ("SELECT (ARRAY[1,2,3])[1:2]", "SELECT (ARRAY[1,2,3])[1:2]", ()),
        ("SELECT :a_1,:a_10", "SELECT $1,$2", ("a_1", "a_10")),
    ],
)
def test_names_become_numbers(sql: str, text: str, names: tuple[str, ...]) -> None:
    statement = translate(sql)
    assert (statement.sql.decode(), statement.names) == (text, names)


@pytest.mark.parametrize("sql", ["COMMIT", " rollback;", "BEGIN", "set x = 1", "LISTEN a", "copy t from stdin"])
def test_what_ends_or_changes_the_transaction_is_the_engines_business(sql: str) -> None:
    with pytest.raises(ValueError, match="engine"):
        translate(sql)


def test_values_are_sent_as_they_are() -> None:
    names = ("a", "b", "c", "d", "e", "f")
    given = {"a": "ä\0b", "b": -1, "c": None, "d": 1.5, "e": b"\0\xff", "f": True}
    values, types = encode(names, given)
    assert types == (TEXT, INT8, UNKNOWN, FLOAT8, BYTEA, INT8)
    assert values == ["ä\ufffdb".encode(), b"\xff" * 8, None, b"\x3f\xf8" + bytes(6), b"\0\xff", bytes(7) + b"\1"]
    with pytest.raises(OverflowError):
        encode(("a",), {"a": 2**63})


def test_integers_are_as_wide_as_the_other_engines() -> None:
    sql = "CREATE TABLE t (a INTEGER, b integer DEFAULT 0, \"INTEGER\" TEXT DEFAULT 'INTEGER', integers BIGINT)"
    wide = "CREATE TABLE t (a BIGINT, b BIGINT DEFAULT 0, \"INTEGER\" TEXT DEFAULT 'INTEGER', integers BIGINT)"
    assert widen(sql) == wide
