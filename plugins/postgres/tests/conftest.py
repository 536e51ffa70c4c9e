"""A PostgreSQL server for the tests of this plugin."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from chatserver_postgres.database import PostgresDatabase

from chatserver.testing.postgres import PostgresServer


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    server = PostgresServer().start()
    yield server
    server.remove()


@pytest.fixture
def url(server: PostgresServer) -> Iterator[str]:
    """An empty database."""
    name = server.create()
    yield server.url(name)
    server.drop(name)


@pytest.fixture
async def database(url: str) -> AsyncIterator[PostgresDatabase]:
    opened = await PostgresDatabase.open(url)
    yield opened
    await opened.close()
