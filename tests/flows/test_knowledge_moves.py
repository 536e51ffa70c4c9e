"""A box with collections moves to PostgreSQL and back: passages and their vectors come along, none is made anew."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from chatserver import __version__, clock
from chatserver.chat.copying import copy_house
from chatserver.databases import open_target
from chatserver.house import migration_sets
from chatserver.plugins import Plugins
from chatserver.testing.postgres import PostgresServer
from chatserver.testing.server import Site, open_site

LAND = "# Peru\nThe capital of Peru lies by the sea.\n\n# Nepal\nThat of Nepal lies in a valley, among rice.\n"


async def test_vectors_move_with_the_house(
    tmp_path: Path, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, back = tmp_path / "there", tmp_path / "back"
    async with open_site(tmp_path) as site:
        ada = await site.sign_up("moves@example.org")
        shelf = await fill(ada)
        key = await site.make_key("moves@example.org")
        found = await search(site.api(key), shelf)
    name = postgres_server.create()
    try:
        await copy(f"sqlite:///{tmp_path}", postgres_server.url(name))
        async with open_site(there, database_url=postgres_server.url(name)) as site:
            forbid_embedding(site, monkeypatch)
            assert_alike(await search(site.api(key), shelf), found)
            counts = await site.house.db.read(
                lambda tx: tx.all(
                    int, "SELECT COUNT(*) FROM knowledge_vectors UNION ALL SELECT COUNT(*) FROM knowledge_near"
                )
            )
            assert counts == [2, 2], "and pgvector has them"
        await copy(postgres_server.url(name), f"sqlite:///{back}")
        async with open_site(back) as site:
            forbid_embedding(site, monkeypatch)
            assert_alike(await search(site.api(key), shelf), found)
    finally:
        postgres_server.drop(name)


async def fill(browser: Any) -> str:
    file = (await browser.post("/api/files", files={"file": ("land.md", LAND.encode())})).json()["id"]
    shelf = str((await browser.post("/x/knowledge/collections", json={"name": "Land"})).json()["id"])
    where = f"/x/knowledge/collections/{shelf}"
    assert (await browser.post(f"{where}/files", json={"file_id": file})).status_code == 202
    deadline = clock.monotonic_s() + 50
    while (line := (await browser.get(where)).json()["files"][0])["state"] != "ready":
        assert clock.monotonic_s() < deadline and line["state"] != "failed", line
        await asyncio.sleep(0.05)
    return shelf


async def search(program: Any, shelf: str) -> list[tuple[str, float]]:
    query = {"q": "Which capital is on the coast?", "collection": shelf}
    hits = (await program.get("/x/knowledge/search", params=query)).json()["hits"]
    return [(hit["text"], hit["score"]) for hit in hits]


def assert_alike(here: list[tuple[str, float]], there: list[tuple[str, float]]) -> None:
    assert [text for text, _ in here] == [text for text, _ in there] and len(here) == 2
    assert [score for _, score in here] == pytest.approx([score for _, score in there], abs=1e-4)


def forbid_embedding(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = site.house.plugins.registered("register_jobs")
    (ingest,) = [one.run.__self__ for _, one in jobs if one.kind == "knowledge.read"]
    monkeypatch.setattr(ingest._embedder, "passages", None)


async def copy(source_url: str, target_url: str) -> None:
    plugins = Plugins.load(core_version=__version__)
    source, target = await open_target(source_url, plugins), await open_target(target_url, plugins)
    try:
        await copy_house(source, target, lambda engine: migration_sets(engine, plugins))
    finally:
        await target.close()
        await source.close()
