"""The audit: what is done is noted, shown to admins only, and stays as it was noted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from chatserver.domain.audit import COMMAND_LINE
from chatserver.store import audit as rows
from chatserver.testing.server import Site, open_site
from tests.engines import ENGINES, postgres_with_schema

VOICE = {
    "id": "ours",
    "title": "Ours",
    "base_url": "http://127.0.0.1:9/v1",
    "model": "tts",
    "voice": "a",
    "groups": "default",
    "key": "sk-voice",
}
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
    assert "API key made" in page, "in words, beside the name that programs know"
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


async def test_a_change_and_its_line_are_kept_together_or_not_at_all(
    each_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = each_site
    root = await site.sign_up("chief@example.org", role="admin")
    ann = await site.sign_up("ada@example.org")
    assert root.actor is not None and ann.actor is not None
    before = len(await site.house.audit.entries(root.actor))

    def refuse(*_: Any) -> None:
        raise OSError("the line could not be written")

    form = {"name": "Ours", "provider": "openai", "base_url": "http://127.0.0.1:9/v1", "is_on": "1"}
    with monkeypatch.context() as broken:
        broken.setattr(rows, "add_entry", refuse)
        deeds = [
            root.post(f"/admin/accounts/{ann.actor.account_id}", data={"role": "admin"}),
            root.post("/admin/accounts", data={"email": "half@example.org"}),
            root.post("/admin/channels", data=form),
            root.post("/admin/plugins/presets", data={"on": "0"}),
            root.post("/admin/settings", data={"name": "limits.upload_mb", "value": "77"}),
            root.post("/x/voices/admin", data=VOICE, headers={"accept": "text/html"}),
            ann.post("/settings/keys", data={"name": "laptop"}),
        ]
        assert {(await deed).status_code for deed in deeds} == {500}
    assert (await site.house.accounts.by_id(ann.actor.account_id)) == ann.actor.account
    assert await site.house.accounts.by_email("half@example.org") is None
    assert all(entry.wish.name != "Ours" for entry in await site.house.console.entries(root.actor))
    assert site.house.plugins.is_on("presets") and site.house.limits["upload_mb"] != 77
    assert await site.house.accounts.keys(ann.actor) == []
    assert len(await site.house.audit.entries(root.actor)) == before
    refused = await root.post("/admin/accounts/" + "0" * 26, data={"role": "admin"})
    assert refused.status_code == 404 and len(await site.house.audit.entries(root.actor)) == before


async def test_plugins_and_the_command_line_have_their_lines(each_site: Site) -> None:
    site = each_site
    root = await site.sign_up("head@example.org", role="admin")
    assert root.actor is not None
    assert (await root.post("/x/voices/admin", data=VOICE, headers={"accept": "text/html"})).status_code == 303
    await site.house.accounts.create("made@example.org", by=COMMAND_LINE)
    created, added = (await site.house.audit.entries(root.actor))[:2]
    assert (created.action, created.actor_id) == ("account_created", "command line")
    assert (added.action, added.subject, added.actor_id) == ("voices.voice_added", "ours", root.actor.account_id)
    page = (await root.get("/admin/audit")).text
    assert "command line" in page and "<code>voices.voice_added</code>" in page and "sk-voice" not in page
    assert (await root.post("/x/voices/admin/ours/remove", data={}, headers={"accept": "text/html"})).is_redirect
    assert (await site.house.audit.entries(root.actor))[0].action == "voices.voice_removed"
