"""An open database for the tests of this plugin."""

from __future__ import annotations

import os
import resource
from collections.abc import AsyncIterator, Iterator

import pytest
from chatserver_postgres.database import PostgresDatabase


@pytest.fixture
def many_files() -> Iterator[None]:
    """Of the process so many are open, as with a thousand readers, that the next connection's number is above 1,023."""
    kept = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(kept[0], 2_048), kept[1]))
    opened = [os.open("/dev/null", os.O_RDONLY)]
    while opened[-1] < 1_024:
        opened.append(os.dup(opened[0]))
    yield
    for number in opened:
        os.close(number)
    resource.setrlimit(resource.RLIMIT_NOFILE, kept)


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[PostgresDatabase]:
    """Empty."""
    opened = await PostgresDatabase.open(postgres_url)
    yield opened
    await opened.close()
