"""The fence around a plugin's tables: what a statement touches, and what is kept out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chatserver.plugins.fence import FenceCrossed, FencedDatabase, check, tables_of


@pytest.mark.parametrize(
    ("sql", "tables"),
    [
        (
            "SELECT a FROM w_x AS y, (SELECT 1 FROM w_z) q, accounts b WHERE a IS NOT DISTINCT FROM c",
            "accounts w_x w_z",
        ),
        ('SELECT \'from accounts\', "a" FROM "W_a" -- from sessions', "w_a"),
        ("SELECT (SELECT max(x) FROM w_b), y FROM w_a a, accounts", "accounts w_a w_b"),
        ("SELECT * FROM (accounts a JOIN w_x b ON 1)", "accounts w_x"),
        ("SELECT x FROM w_a JOIN w_b ON w_a.i = w_b.i, accounts", "accounts w_a w_b"),
        ("SELECT x FROM w_a GROUP BY a, b ORDER BY c, d", "w_a"),
        ("SELECT count(*) FROM w_a WHERE x IN (SELECT 1, 2 FROM w_b)", "w_a w_b"),
        ("SELECT a FROM w_a UNION SELECT b FROM accounts", "accounts w_a"),
        (
            "WITH RECURSIVE p(id) AS (SELECT id FROM w_a UNION ALL SELECT p.id FROM p JOIN w_b ON 1),"
            " q AS (SELECT 1) SELECT * FROM p, q, w_c",
            "w_a w_b w_c",
        ),
        ("INSERT INTO w_a (x, y) VALUES (:a, :b) ON CONFLICT (x) DO UPDATE SET y = excluded.y", "w_a"),
        ("INSERT OR IGNORE INTO w_a SELECT 1", "w_a"),
        ("UPDATE OR REPLACE w_a SET x = 1 FROM accounts WHERE 1", "accounts w_a"),
        ("CREATE TABLE IF NOT EXISTS w_a (id TEXT REFERENCES accounts(id) ON DELETE CASCADE)", "accounts w_a"),
        ("CREATE UNIQUE INDEX w_i ON accounts (x)", "accounts w_i"),
        ("CREATE TRIGGER w_t BEFORE UPDATE ON w_a BEGIN DELETE FROM accounts; END", "accounts w_a w_t"),
        ("ALTER TABLE w_a ADD COLUMN x TEXT", "w_a"),
        ("DROP TABLE IF EXISTS accounts", "accounts"),
    ],
)
def test_the_tables_of_a_statement(sql: str, tables: str) -> None:
    assert sorted(tables_of(sql)) == tables.split()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM accounts",
        "SELECT * FROM w_a, accounts",
        "SELECT * FROM main.accounts",
        "SELECT * FROM main.w_a",
        "SELECT * FROM W_a; DELETE FROM accounts",
        "PRAGMA writable_schema = 1",
        "ATTACH 'x' AS y",
        "DROP TABLE w_a",
        "",
    ],
)
def test_what_a_plugin_may_not_run(sql: str) -> None:
    with pytest.raises(FenceCrossed):
        check(sql, "w_")


class OneTx:
    engine = "sqlite"

    def all(self, row_type: type, sql: str, **parameters: Any) -> list[Any]:
        return [sql]

    def one(self, row_type: type, sql: str, **parameters: Any) -> Any:
        return sql

    def run(self, sql: str, **parameters: Any) -> int:
        return 1

    def queue(self, sql: str, **parameters: Any) -> None:
        """Nothing comes of it here."""

    def lock(self, name: str) -> None:
        assert name == "w_till"


class OneDatabase:
    async def read(self, function: Callable[[Any], Any]) -> Any:
        return function(OneTx())

    async def write(self, function: Callable[[Any], Any]) -> Any:
        return function(OneTx())


async def test_the_fence_stands_in_front_of_every_call() -> None:
    db = FencedDatabase(OneDatabase(), "w_")
    assert await db.read(lambda tx: tx.all(str, "SELECT x FROM w_a")) == ["SELECT x FROM w_a"]
    assert await db.read(lambda tx: tx.one(str, "SELECT x FROM w_a")) == "SELECT x FROM w_a"
    assert await db.write(lambda tx: tx.run("UPDATE w_a SET x = 1")) == 1
    await db.write(lambda tx: tx.lock("till"))
    for call in (lambda tx: tx.all(str, "SELECT 1 FROM sessions"), lambda tx: tx.one(str, "SELECT 1 FROM sessions")):
        with pytest.raises(FenceCrossed, match="begin with w_, and the statement names sessions"):
            await db.read(call)
    with pytest.raises(FenceCrossed):
        await db.write(lambda tx: tx.run("DELETE FROM sessions"))
