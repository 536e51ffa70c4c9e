"""A site with the plugin, and what one does with it over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from chatserver import clock
from chatserver.testing.server import Site, open_site
from chatserver.testing.upstream import FakeUpstream


@pytest.fixture(scope="module")
def upstream() -> Any:
    with FakeUpstream.in_thread() as upstream:
        yield upstream


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["sqlite", "postgres"])
async def site(
    tmp_path_factory: pytest.TempPathFactory, upstream: FakeUpstream, request: pytest.FixtureRequest
) -> AsyncIterator[Site]:
    url, name, server = "", "", None
    if request.param == "postgres":
        server = request.getfixturevalue("postgres_server")
        name = server.create()
        url = server.url(name)
    async with open_site(tmp_path_factory.mktemp("site"), upstream.base_url, database_url=url) as site:
        yield site
    if server is not None:
        server.drop(name)


async def bring(browser: Any, name: str, content: bytes) -> str:
    answer = await browser.post("/api/files", files={"file": (name, content)})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def make(browser: Any, name: str = "Things", **more: Any) -> str:
    answer = await browser.post("/x/knowledge/collections", json={"name": name, **more})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def put_in(browser: Any, collection: str, file: str) -> dict[str, Any]:
    """A file put in, and read."""
    answer = await browser.post(f"/x/knowledge/collections/{collection}/files", json={"file_id": file})
    assert answer.status_code == 202, answer.text
    return await settled(browser, collection, file)


async def settled(browser: Any, collection: str, file: str) -> dict[str, Any]:
    deadline = clock.monotonic_s() + 50
    while True:
        told = (await browser.get(f"/x/knowledge/collections/{collection}")).json()
        (found,) = [one for one in told["files"] if one["file_id"] == file]
        if found["state"] in ("ready", "failed"):
            return dict(found)
        assert clock.monotonic_s() < deadline, found
        await asyncio.sleep(0.05)


async def search(browser: Any, query: str, *collections: str, limit: int = 8) -> list[dict[str, Any]]:
    answer = await browser.get(
        "/x/knowledge/search", params={"q": query, "collection": list(collections), "limit": str(limit)}
    )
    assert answer.status_code == 200, answer.text
    return list(answer.json()["hits"])


def job_of(site: Site, kind: str) -> Any:
    """The object whose method is the job."""
    return next(one.run.__self__ for _, one in site.house.plugins.registered("register_jobs") if one.kind == kind)
