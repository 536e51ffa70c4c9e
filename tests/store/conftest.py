"""A database for the tests of the store, on each engine in turn."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chatserver.store.database import Database
from tests.engines import ENGINES, core_database, open_postgres, open_sqlite


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """A module about one engine says so by a fixture of this name."""
    return str(request.param)


@pytest.fixture
async def database(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    """Open and empty."""
    if engine == "sqlite":
        opened: Database = open_sqlite(tmp_path / "chat.db")
    else:
        opened = await open_postgres(request.getfixturevalue("postgres_url"))
    yield opened
    await opened.close()


@pytest.fixture
async def db(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    """Open, with the core's tables and search."""
    async with core_database(engine, tmp_path, lambda: request.getfixturevalue("postgres_server")) as opened:
        yield opened
