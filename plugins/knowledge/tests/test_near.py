"""Vectors on PostgreSQL lie in pgvector, which finds what the matrix in memory finds; without it that one answers."""

from __future__ import annotations

from typing import Any

import pytest

from chatserver.testing.server import Site

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


async def test_a_fall_back_is_said_where_admins_look_and_taken_back(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = await site.sign_up("root-of-near@example.org", role="admin")
    near = searching_of(site)._near
    was_there = near.is_there
    monkeypatch.setattr("chatserver_knowledge.near._look", lambda tx: ("postgres", False))
    await near.open(near._ctx)
    assert "because PostgreSQL has no pgvector" in (await root.get("/admin/plugins")).text
    monkeypatch.undo()
    await near.open(near._ctx)
    assert near.is_there == was_there
    assert "no pgvector" not in (await root.get("/admin/plugins")).text


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
