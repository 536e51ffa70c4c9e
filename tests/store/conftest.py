"""A database with the whole schema, for the tests of the store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chatserver.store import search
from chatserver.store.schema import CORE
from chatserver.store.sqlite import SqliteDatabase


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    """Open and empty."""
    opened = SqliteDatabase.open(tmp_path / "chat.db", reserve_bytes=1_000_000)
    yield opened
    await opened.close()


@pytest.fixture
async def db(database: SqliteDatabase) -> SqliteDatabase:
    """Open, with the core's tables and search."""
    await database.migrate([("core", CORE), ("search", search.migrations(database.engine))])
    return database
