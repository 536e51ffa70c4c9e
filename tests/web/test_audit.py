"""The audit: what is done is noted, shown to admins only, and stays as it was noted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from chatserver.testing.server import Site, open_site
from tests.engines import ENGINES, postgres_with_schema

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=ENGINES)
async def each_site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A site on each engine in turn."""
    folder = tmp_path_factory.mktemp("site")
    if request.param == "sqlite":
        async with open_site(folder) as site:
            yield site
    else:
        async with (
            postgres_with_schema(request.getfixturevalue("postgres_server")) as url,
            open_site(folder, database_url=url) as site,
        ):
            yield site


async def test_what_is_done_is_noted_and_shown_to_admins(each_site: Site) -> None:
    root = await each_site.sign_up("root@example.org", role="admin")
    ann = await each_site.sign_up("ann@example.org")
    assert root.actor is not None and ann.actor is not None
    assert (await ann.post("/settings/keys", data={"name": "laptop"})).status_code == 200
    assert (await ann.get("/api/account/export")).status_code == 200
    made = await root.post("/admin/accounts", data={"email": "new@example.org", "groups": "default"})
    assert made.status_code == 303
    await root.post(f"/admin/accounts/{ann.actor.account_id}", data={"state": "suspended"})
    entries = await each_site.house.audit.entries(root.actor)
    noted = [entry.action for entry in entries]
    assert noted == ["account_changed", "account_created", "account_exported", "key_created"]
    assert entries[0].details == {"state": "suspended"} and entries[0].actor_id == root.actor.account_id
    page = (await root.get("/admin/audit")).text
    assert all(action in page for action in noted) and "laptop" in page and "ann@example.org" in page
    narrow = (await root.get("/admin/audit?action=key_created")).text
    assert "laptop" in narrow and "<code>account_created" not in narrow
    older = (await root.get(f"/admin/audit?before={entries[2].id}")).text
    assert "<code>key_created" in older and "<code>account_exported" not in older
    member = await each_site.sign_up("eve@example.org")
    assert (await member.get("/admin/audit")).status_code == 403


@pytest.mark.parametrize("change", ["UPDATE audit SET action = 'x'", "DELETE FROM audit"])
async def test_the_database_refuses_to_change_a_line(each_site: Site, change: str) -> None:
    root = await each_site.house.accounts.create(f"{len(change)}@example.org", role="admin")
    await each_site.house.audit.note(root, "tried", "it")

    def write(tx: Any) -> None:
        tx.run(change)

    with pytest.raises(Exception, match="append-only|storage|database"):
        await each_site.house.db.write(write)
    kept = await each_site.house.db.read(lambda tx: tx.all(str, "SELECT action FROM audit WHERE action = 'tried'"))
    assert kept
