"""An open database for the tests of this plugin."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from chatserver_postgres.database import PostgresDatabase


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[PostgresDatabase]:
    """Empty."""
    opened = await PostgresDatabase.open(postgres_url)
    yield opened
    await opened.close()
