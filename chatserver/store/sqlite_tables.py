"""Which tables a SQLite file has, asked by sqlite-utils."""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def _without(*modules: str) -> Iterator[None]:
    """As if these were not installed."""
    loaded: dict[str, Any] = sys.modules
    hidden = [name for name in modules if name not in loaded]
    loaded.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        for name in hidden:
            del loaded[name]


with _without("numpy", "pandas"):  # it takes them along where they are: 15 MB and a tenth of a second at each start
    import sqlite_utils


def tables_in(connection: sqlite3.Connection) -> list[str]:
    names = sqlite_utils.Database(connection, recursive_triggers=False).table_names()
    return [name for name in names if not name.startswith("sqlite_")]
