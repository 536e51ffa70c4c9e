"""`:name` becomes `$1`, values become bytes: what goes over the wire, worked out once per statement."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from functools import lru_cache

import msgspec

from chatserver import Value

INT8, TEXT, BYTEA, FLOAT8, UNKNOWN = 20, 25, 17, 701, 0
"""Type numbers from PostgreSQL's catalogue, pg_type.dat; they never change."""
BINARY = 1
NO_NUL = "\ufffd".encode()
NOT_IN_A_UNIT = {
    "BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE", "PREPARE", "SET", "RESET",
    "DISCARD", "LISTEN", "UNLISTEN", "NOTIFY", "COPY", "LOCK", "VACUUM",
}  # fmt: skip
_TOKEN = re.compile(
    r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | --[^\n]* | /\*.*?\*/ | ::\s*\w+ | :(?P<name>[A-Za-z_]\w*)""",
    re.VERBOSE | re.DOTALL,
)
_INTEGER = re.compile(r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | (?P<word>\bINTEGER\b)""", re.VERBOSE | re.IGNORECASE)
_float = struct.Struct(">d").pack


class Statement(msgspec.Struct, frozen=True):
    """A statement as the server takes it. names: whose value each `$n` is, in order."""

    sql: bytes
    names: tuple[str, ...]


@lru_cache(maxsize=5_000)
def translate(sql: str) -> Statement:
    """Parameters numbered by first appearance; strings, quoted names, comments and casts stay as they are.

    Raises ValueError for a statement that would end or change the transaction it runs in.
    """
    word = sql.split(None, 1)[0].upper().rstrip(";") if sql.strip() else ""
    if word in NOT_IN_A_UNIT:
        raise ValueError(f"{word} is the engine's own business; a unit runs plain statements only.")
    names: dict[str, int] = {}

    def replace(match: re.Match[str]) -> str:
        name = match["name"]
        return match[0] if name is None else f"${names.setdefault(name, len(names) + 1)}"

    return Statement(_TOKEN.sub(replace, sql).encode(), tuple(names))


def widen(sql: str) -> str:
    """A statement of a migration with every INTEGER as wide as SQLite's: 64 bits."""
    return _INTEGER.sub(lambda match: match[0] if match["word"] is None else "BIGINT", sql)


def encode(names: tuple[str, ...], parameters: Mapping[str, Value]) -> tuple[list[bytes | None], tuple[int, ...]]:
    """The values in order, in binary form, and their types. Text cannot hold NUL there: it becomes U+FFFD."""
    values: list[bytes | None] = []
    types: list[int] = []
    for name in names:
        value = parameters[name]
        if isinstance(value, str):
            data = value.encode()
            values.append(data.replace(b"\0", NO_NUL) if b"\0" in data else data)
            types.append(TEXT)
        elif isinstance(value, int):
            values.append(value.to_bytes(8, "big", signed=True))
            types.append(INT8)
        elif value is None:
            values.append(None)
            types.append(UNKNOWN)
        elif isinstance(value, float):
            values.append(_float(value))
            types.append(FLOAT8)
        else:
            values.append(bytes(value))
            types.append(BYTEA)
    return values, tuple(types)
