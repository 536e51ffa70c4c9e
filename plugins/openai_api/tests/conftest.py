"""A served house and a key to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from chatserver import Tx, clock
from chatserver.testing.server import Site, open_site
from chatserver.testing.upstream import FakeUpstream

MODELS = (
    "fake-n5",
    "fake-echo",
    "fake-tool-n2",
    "fake-think3-n3",
    "fake-err500",
    "fake-err429-retry1",
    "fake-cut3-n9",
    "fake-toolong",
    "fake-n200-gap20",
    "fake-n30-gap20",
    "fake-hang",
)


@pytest.fixture(scope="module")
def upstream() -> Any:
    with FakeUpstream.in_thread() as upstream:
        yield upstream


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory, upstream: FakeUpstream) -> AsyncIterator[Site]:
    async with open_site(tmp_path_factory.mktemp("site"), upstream.base_url, models=MODELS) as site:
        await site.house.accounts.create("ada@example.org")
        yield site


@pytest_asyncio.fixture(loop_scope="module")
async def key(site: Site) -> str:
    return await site.make_key("ada@example.org")


async def rows(site: Site, model: str) -> list[tuple[str, str, str, str]]:
    """State, origin, kind and usage of the calls of a model, oldest first."""

    def read(tx: Tx) -> list[tuple[str, str, str, str]]:
        sql = "SELECT state || '|' || origin || '|' || kind || '|' || usage FROM calls WHERE model = :model ORDER BY id"
        return [tuple(line.split("|", 3)) for line in tx.all(str, sql, model=model)]  # type: ignore[misc]

    await site.house.directs.settle()
    return await site.house.db.read(read)


async def until(is_true: Callable[[], Awaitable[bool]], timeout_s: float = 20) -> None:
    deadline_s = clock.monotonic_s() + timeout_s
    while not await is_true():
        assert clock.monotonic_s() < deadline_s, "it never came true"
        await asyncio.sleep(0.02)
