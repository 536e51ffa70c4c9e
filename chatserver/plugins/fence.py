"""Which tables a statement touches, and the fence that keeps a plugin's statements to tables of its own prefix.

A fence against mistakes, not against malice: a plugin is code with the server's rights. Where the scanner is not sure
what a name is, it takes it for a table.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from chatserver.errors import ChatserverError

T = TypeVar("T")
R = TypeVar("R")
Value = str | int | float | bytes | None


class FenceCrossed(ChatserverError):
    """A plugin asked for a table that is not its own, or for a kind of statement it may not run."""

    code = "fence_crossed"


_TOKEN = re.compile(
    r"""(?P<skip>\s+|--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|:\w+|::\w+|\{\w+\}|\d[\w.]*)
      |"(?P<double>(?:[^"]|"")*)"|`(?P<tick>[^`]*)`|\[(?P<bracket>[^\]]*)\]
      |(?P<word>[^\W\d][\w$]*)
      |(?P<mark>.)""",
    re.VERBOSE | re.DOTALL,
)
_STATEMENTS = {"select", "insert", "update", "delete", "replace", "with", "values"}
_SCHEMA_STATEMENTS = {*_STATEMENTS, "create", "alter", "drop"}
_BEFORE_TABLE = {"from", "join", "into", "update", "table", "references", "using", "view"}
_FILLERS = {"if", "not", "exists", "only", "lateral", "or", "ignore", "replace", "rollback", "abort", "fail"}
_ENDS_FROM = {
    "where", "group", "order", "limit", "having", "union", "except", "intersect", "returning", "set", "window",
    "select", "on", "values", "offset", "fetch", "for", "begin", "do",
}  # fmt: skip
_SUBQUERY = {"select", "with", "values"}
_NEVER_A_TABLE = {*_SUBQUERY, "delete", "insert", "update"}
_NO_TABLE_AFTER_UPDATE = {"of", "on", "set", "cascade", "restrict", "no"}


@functools.lru_cache(maxsize=2048)
def tables_of(sql: str) -> frozenset[str]:
    """Lower-case names in the places of a statement where a table stands; names made by WITH are left out."""
    tokens = _tokens(sql)
    made_here = {tokens[i][0] for i in range(len(tokens) - 1) if tokens[i][1] and _opens_cte(tokens, i)}
    return frozenset(_table_names(tokens) - made_here)


def _tokens(sql: str) -> list[tuple[str, bool]]:
    """(text, is a name or keyword) with strings, numbers, parameters and comments left out."""
    tokens = []
    for match in _TOKEN.finditer(sql):
        kind = match.lastgroup
        if kind == "skip":
            continue
        tokens.append((match.group(kind or "mark").lower(), kind != "mark"))
    return tokens


def _opens_cte(tokens: Sequence[tuple[str, bool]], at: int) -> bool:
    """`name AS (SELECT` or `name (columns) AS (SELECT`, after WITH, RECURSIVE or a comma."""
    if at == 0 or tokens[at - 1][0] not in ("with", "recursive", ","):
        return False
    after = at + 1
    if tokens[after][0] == "(":
        while after < len(tokens) and tokens[after][0] != ")":
            after += 1
        after += 1
    rest = [text for text, _ in tokens[after : after + 5]]
    if rest[:1] != ["as"]:
        return False
    rest = [text for text in rest[1:] if text not in ("not", "materialized")]
    return rest[:1] == ["("] and len(rest) > 1 and rest[1] in _SUBQUERY


def _table_names(tokens: Sequence[tuple[str, bool]]) -> set[str]:
    names: set[str] = set()
    # One entry per open parenthesis: are we in a FROM list there, so that a comma brings another table?
    in_list = [False]
    expects = False
    previous: tuple[str, str] = ("", "")
    is_index = False
    for position, (text, is_word) in enumerate(tokens):
        following = tokens[position + 1][0] if position + 1 < len(tokens) else ""
        if expects and is_word and text in _FILLERS and following not in (",", ")", "", "where", "as"):
            pass
        elif expects and is_word and text in _NEVER_A_TABLE:
            expects = False
        elif expects and is_word:
            if following == ".":
                names.add(f"{text}.")  # a schema: never the plugin's own
            names.add(text)
            expects = False
        elif text == "(":
            # FROM ( … : a subquery clears it, a parenthesised list of tables keeps it.
            in_list.append(expects)
            continue
        elif text == ")":
            if len(in_list) > 1:
                in_list.pop()
            expects = False
        elif text == ",":
            expects = in_list[-1]
        elif not is_word:
            expects = False
        elif text == "update":
            expects = following not in _NO_TABLE_AFTER_UPDATE
        elif text == "from":
            # IS DISTINCT FROM compares; it names no table.
            expects = not (previous[1] == "distinct" and previous[0] in ("is", "not"))
            in_list[-1] = expects
        elif text == "using":
            expects = following != "(" and tokens[0][0] == "delete"
        elif text in ("index", "trigger") and previous[1] in ("create", "unique", "temp", "temporary"):
            is_index, expects = True, True
        elif text in ("index", "trigger") and previous[1] == "drop":
            expects = True
        elif text == "on" and is_index:
            is_index, expects = False, True
        elif text in _BEFORE_TABLE:
            expects = True
        elif text in _ENDS_FROM:
            in_list[-1] = text == "on" and in_list[-1]
        previous = (previous[1], text)
    return names


def check(sql: str, prefix: str, *, is_schema: bool = False) -> None:
    """Raises FenceCrossed unless the statement only touches tables that begin with `prefix`."""
    problem = _problem(sql, prefix, is_schema)
    if problem:
        raise FenceCrossed(problem)


@functools.lru_cache(maxsize=2048)
def _problem(sql: str, prefix: str, is_schema: bool) -> str:
    tokens = _tokens(sql)
    allowed = _SCHEMA_STATEMENTS if is_schema else _STATEMENTS
    first = tokens[0][0] if tokens else ""
    if first not in allowed:
        return f"A plugin may not run {first.upper() or 'an empty statement'} here."
    is_trigger = is_schema and any(text == "trigger" for text, _ in tokens[:4])
    if not is_trigger and any(text == ";" for text, _ in tokens[:-1]):
        return "One statement at a time: there is a semicolon inside this one."
    foreign = sorted(name for name in tables_of(sql) if not name.startswith(prefix))
    if foreign:
        return f"This plugin's tables begin with {prefix}, and the statement names {', '.join(foreign)}."
    return ""


class PlainTx(Protocol):
    """The calls of a transaction, as plugins see them."""

    engine: str

    def all(self, row_type: type[T], sql: str, **parameters: Value) -> list[T]: ...
    def one(self, row_type: type[T], sql: str, **parameters: Value) -> T | None: ...
    def run(self, sql: str, **parameters: Value) -> int: ...
    def queue(self, sql: str, **parameters: Value) -> None: ...
    def lock(self, name: str) -> None: ...


class PlainDatabase(Protocol):
    """What the fence stands in front of."""

    async def read(self, function: Callable[[Any], R]) -> R: ...
    async def write(self, function: Callable[[Any], R]) -> R: ...


class FencedTx:
    """A transaction that looks at every statement first."""

    def __init__(self, tx: PlainTx, prefix: str) -> None:
        self._tx = tx
        self._prefix = prefix
        self.engine = tx.engine

    def all(self, row_type: type[T], sql: str, **parameters: Value) -> list[T]:
        check(sql, self._prefix)
        return self._tx.all(row_type, sql, **parameters)

    def one(self, row_type: type[T], sql: str, **parameters: Value) -> T | None:
        check(sql, self._prefix)
        return self._tx.one(row_type, sql, **parameters)

    def run(self, sql: str, **parameters: Value) -> int:
        check(sql, self._prefix)
        return self._tx.run(sql, **parameters)

    def queue(self, sql: str, **parameters: Value) -> None:
        """As run, for a statement of which nobody asks how many rows it changed."""
        check(sql, self._prefix)
        self._tx.queue(sql, **parameters)

    def lock(self, name: str) -> None:
        """One transaction at a time holds a name, on all nodes; names of other plugins are others."""
        self._tx.lock(f"{self._prefix}{name}")


class FencedDatabase:
    """`ctx.db`: `await db.read(function)` and `await db.write(function)`, within the plugin's own tables."""

    def __init__(self, db: PlainDatabase, prefix: str) -> None:
        self._db = db
        self._prefix = prefix

    async def read(self, function: Callable[[FencedTx], R]) -> R:
        return await self._db.read(lambda tx: function(FencedTx(tx, self._prefix)))

    async def write(self, function: Callable[[FencedTx], R]) -> R:
        return await self._db.write(lambda tx: function(FencedTx(tx, self._prefix)))
