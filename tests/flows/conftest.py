"""The database of a flow: SQLite in the data folder, or PostgreSQL by its URL; each flow runs on both."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.engines import ENGINES, postgres_with_schema


@pytest.fixture(params=ENGINES)
async def database_url(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """What CHATSERVER_DATABASE_URL says: nothing, or a fresh database with the schema."""
    if request.param == "sqlite":
        yield ""
        return
    async with postgres_with_schema(request.getfixturevalue("postgres_server")) as url:
        yield url
