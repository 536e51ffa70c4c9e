"""Vectors on PostgreSQL lie in pgvector, which finds what the matrix in memory finds; without it that one answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chatserver import __version__
from chatserver.chat.copying import copy_house
from chatserver.databases import open_target
from chatserver.house import migration_sets
from chatserver.plugins import Plugins
from chatserver.testing.postgres import PostgresServer
from chatserver.testing.server import Site, open_site
from chatserver.testing.upstream import FakeUpstream

from .conftest import bring, job_of, make, put_in, search

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

LAND = "".join(
    f"# {name}\nThe capital of {name} lies {where}, and its people grow {what}.\n\n"
    for name, where, what in (
        ("Peru", "by the sea", "potatoes"),
        ("Nepal", "in a valley", "rice"),
        ("Chad", "on a river", "millet"),
        ("Fiji", "on an island", "sugar cane"),
    )
)
QUESTIONS = ("Which capital is on the coast?", "Nepal", "Où cultive-t-on le riz ?", "sugar", "river valley")


def searching_of(site: Site) -> Any:
    plugin = next(one for _, one in site.house.plugins.registered("register_routes") if one.path == "/search")
    return plugin.api.__self__._searching


async def kept(site: Site) -> tuple[int, int]:
    """How many vectors there are, and how many of them pgvector has."""

    def count(tx: Any) -> tuple[int, int]:
        return (
            tx.one(int, "SELECT COUNT(*) FROM knowledge_vectors"),
            tx.one(int, "SELECT COUNT(*) FROM knowledge_near n JOIN knowledge_vectors v ON v.file = n.file"
                   " AND v.model = n.model AND v.place = n.place AND n.width * 4 = length(v.vector)"),
        )  # fmt: skip

    return await site.house.db.read(count)


async def test_both_ways_find_the_same(site: Site) -> None:
    searching = searching_of(site)
    if site.house.db.engine != "postgres":
        assert not searching._near.is_there
        return
    ada = await site.sign_up("both@example.org")
    shelf = await make(ada)
    file = await bring(ada, "land.md", LAND.encode())
    assert (await put_in(ada, shelf, file))["chunks"] == 4
    by_database = [await search(ada, question, shelf) for question in QUESTIONS]
    assert searching._held[shelf]._vectors.shape == (4, 0), "nothing of it is held in memory"
    searching._near.is_there = False
    searching._held.clear()
    try:
        in_memory = [await search(ada, question, shelf) for question in QUESTIONS]
    finally:
        searching._near.is_there = True
        searching._held.clear()
    for one, other in zip(by_database, in_memory, strict=True):
        assert [hit["text"] for hit in one] == [hit["text"] for hit in other]
        assert [hit["score"] for hit in one] == pytest.approx([hit["score"] for hit in other], abs=1e-4)
    vectors, near = await kept(site)
    assert vectors == near > 0
    await ada.delete(f"/x/knowledge/collections/{shelf}/files/{file}")
    assert await kept(site) == (vectors - 4, near - 4)


async def test_what_came_another_way_is_completed(site: Site) -> None:
    if site.house.db.engine != "postgres":
        return
    ada, searching = await site.sign_up("late@example.org"), searching_of(site)
    shelf = await make(ada)
    await put_in(ada, shelf, await bring(ada, "land.md", LAND.encode()))
    renewal = job_of(site, "knowledge.renew")
    await site.house.db.write(lambda tx: tx.run("DELETE FROM knowledge_near"))
    searching._held.clear()
    assert len(await search(ada, "Which capital is on the coast?", shelf)) == 4, "by who asks for it"
    await site.house.db.write(lambda tx: tx.run("DELETE FROM knowledge_near"))
    renewal._is_checked = False
    await renewal.run({})
    vectors, near = await kept(site)
    assert vectors == near > 0, "and by the job, once after each start"


async def test_a_box_moves_to_postgresql_and_back_with_its_vectors(
    tmp_path: Path, postgres_server: PostgresServer, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_site(tmp_path, upstream.base_url) as site:
        ada = await site.sign_up("moves@example.org")
        shelf = await make(ada)
        await put_in(ada, shelf, await bring(ada, "land.md", LAND.encode()))
        key = await site.make_key("moves@example.org")
    name = postgres_server.create()
    here = f"sqlite:///{tmp_path}"
    back = tmp_path / "back"
    try:
        await copy(here, postgres_server.url(name))
        async with open_site(tmp_path, upstream.base_url, database_url=postgres_server.url(name)) as site:
            embedder = job_of(site, "knowledge.read")._embedder
            monkeypatch.setattr(embedder, "passages", None)  # nothing is embedded anew
            found = await search(site.api(key), "Which capital is on the coast?", shelf)
            assert len(found) == 4 and await kept(site) == (4, 4)
        await copy(postgres_server.url(name), f"sqlite:///{back}")
        async with open_site(back, upstream.base_url) as site:
            there = await search(site.api(key), "Which capital is on the coast?", shelf)
        assert [hit["text"] for hit in there] == [hit["text"] for hit in found]
        assert [hit["score"] for hit in there] == pytest.approx([hit["score"] for hit in found], abs=1e-4)
    finally:
        postgres_server.drop(name)


async def copy(source_url: str, target_url: str) -> None:
    plugins = Plugins.load(core_version=__version__)
    source, target = await open_target(source_url, plugins), await open_target(target_url, plugins)
    try:
        await copy_house(source, target, lambda engine: migration_sets(engine, plugins))
    finally:
        await target.close()
        await source.close()
