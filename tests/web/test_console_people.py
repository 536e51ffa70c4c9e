"""The console's accounts and plugins: found, made, changed, shut out; and what being shut out means, within seconds."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from chatserver import clock
from chatserver.testing.server import Site, open_site
from chatserver.testing.upstream import FakeUpstream


@pytest.fixture(params=["sqlite", "postgres"])
async def site(request: pytest.FixtureRequest, tmp_path: Path, fake_upstream: FakeUpstream) -> AsyncIterator[Site]:
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else ""
    models = ("fake-n5", "fake-n900-gap20")
    async with open_site(tmp_path, fake_upstream.base_url, models=models, database_url=url) as site:
        yield site


async def test_accounts_are_made_found_and_changed(site: Site) -> None:
    root = await site.sign_up("root@example.org", role="admin")
    form = {"email": "Ann@example.org", "name": "Ann", "groups": "staff, singers", "password": "correct horse battery"}
    assert (await root.post("/admin/accounts", data=form)).status_code == 303
    twice = await root.post("/admin/accounts", data=form)
    assert twice.status_code == 409 and 'value="Ann@example.org"' in twice.text
    ann = await site.house.accounts.by_email("ann@example.org")
    assert ann is not None and set(ann.groups) >= {"staff", "singers"}
    assert "ann@example.org" in (await root.get("/admin/accounts?q=ANN")).text
    assert "ann@example.org" not in (await root.get("/admin/accounts?q=nobody")).text
    change = f"/admin/accounts/{ann.id}"
    narrowed = await root.post(change, data={"groups": "choir"})
    assert narrowed.status_code == 303
    assert "Outside the group “default”" in (await root.get(narrowed.headers["location"])).text
    kept = await root.post(change, data={"groups": "default choir"})
    assert "Outside the group" not in (await root.get(kept.headers["location"])).text
    assert (await root.post(change, data={"role": "admin"})).status_code == 303
    assert (await root.post(change, data={"role": "king"})).status_code == 422
    assert (await root.post(change, data={"state": "gone"})).status_code == 422
    assert (await root.post("/admin/accounts/" + "0" * 26, data={"role": "admin"})).status_code == 404
    changed = await site.house.accounts.by_id(ann.id)
    assert changed is not None and (changed.role, "choir" in changed.groups) == ("admin", True)


async def test_nobody_shuts_the_last_admin_out(site: Site) -> None:
    root = await site.sign_up("root@example.org", role="admin")
    assert root.actor is not None
    for form in ({"role": "member"}, {"state": "suspended"}):
        told = await root.post(f"/admin/accounts/{root.actor.account_id}", data=form)
        assert told.status_code == 409
        with pytest.raises(Exception, match="last admin"):
            await site.house.accounts.update(root.actor.account_id, **form)  # type: ignore[arg-type]


async def test_suspended_is_out_within_seconds_wherever_one_was(site: Site) -> None:
    root = await site.sign_up("root@example.org", role="admin")
    ann = await site.sign_up("ann@example.org")
    assert ann.actor is not None
    program = site.api(await site.make_key("ann@example.org"))
    chat = (await ann.post("/api/conversations", json={"title": "t"})).json()["id"]
    body = {"parent_id": None, "text": "go on", "model": "fake-n900-gap20"}
    sent = (await ann.post(f"/api/conversations/{chat}/messages", json=body)).json()
    asked = {"model": "fake-n900-gap20", "messages": [{"role": "user", "content": "go on"}], "stream": True}

    async def served() -> str:
        async with program.stream("POST", "/v1/chat/completions", json=asked, timeout=60) as answer:
            return "".join([text async for text in answer.aiter_text()])

    async def watched() -> str:
        async with ann.stream("GET", f"/api/turns/{sent['turn_id']}/events?after=0", timeout=60) as answer:
            return "".join([text async for text in answer.aiter_text()])

    streams = [asyncio.create_task(served()), asyncio.create_task(watched())]
    while len(site.house.directs) == 0:
        await asyncio.sleep(0.01)
    began_s = clock.monotonic_s()
    change = f"/admin/accounts/{ann.actor.account_id}"
    assert (await root.post(change, data={"state": "suspended"})).status_code == 303
    assert (await ann.get("/api/account")).status_code == 401
    assert (await program.get("/api/account")).status_code == 401
    await asyncio.wait(streams, timeout=15)
    assert all(stream.done() for stream in streams)
    while len(site.house.live) or len(site.house.directs):
        assert clock.monotonic_s() - began_s < 15
        await asyncio.sleep(0.02)
    assert (await root.post(change, data={"state": "active"})).status_code == 303
    assert (await program.get("/api/account")).status_code == 200


async def test_a_plugin_is_switched_at_once(site: Site) -> None:
    root = await site.sign_up("root@example.org", role="admin")
    assert "chatserver-presets" in (await root.get("/admin/plugins")).text
    assert (await root.get("/x/presets/")).status_code == 200
    assert (await root.post("/admin/plugins/presets", data={"on": "0"})).status_code == 303
    assert (await root.get("/x/presets/")).status_code == 404
    assert (await root.post("/admin/plugins/presets", data={"on": "1"})).status_code == 303
    assert (await root.get("/x/presets/")).status_code == 200
    assert (await root.post("/admin/plugins/nothing", data={"on": "1"})).status_code == 404
    ann = await site.sign_up("ann@example.org")
    for path in ("/admin/accounts", "/admin/plugins"):
        assert (await ann.get(path)).status_code == 403
        assert (await ann.post(path + "/presets", data={"on": "0", "role": "admin"})).status_code == 403


async def test_what_admins_decide_and_keys_stand_in_the_log_without_secrets(
    tmp_path: Path, fake_upstream: FakeUpstream
) -> None:
    async with open_site(tmp_path, fake_upstream.base_url) as site:
        root = await site.sign_up("root@example.org", role="admin")
        ann = await site.sign_up("ann@example.org")
        assert root.actor is not None and ann.actor is not None
        subject = ann.actor.account_id
        with capture_logs() as lines:
            form = {"email": "bo@example.org", "password": "correct horse battery"}
            await root.post("/admin/accounts", data=form)
            await root.post(f"/admin/accounts/{subject}", data={"groups": "choir"})
            await root.post("/admin/accounts/" + "0" * 26, data={"groups": "choir"})
            await root.post("/admin/plugins/presets", data={"on": "0"})
            page = await ann.post("/settings/keys", data={"name": "a program"})
            key = (await site.house.accounts.keys(ann.actor))[0]
            await ann.post("/settings/keys/revoke", data={"key_id": key.id})
        told = {line["event"]: line for line in lines if "account" in line}
        assert told["account_created"]["account"] == root.actor.account_id
        changed = told["account_changed"]
        assert (changed["subject"], changed["groups"]) == (subject, "choir")
        assert (told["plugin_switched"]["subject"], told["plugin_switched"]["to"]) == ("presets", "off")
        assert told["key_created"]["subject"] == told["key_revoked"]["subject"] == key.id
        assert [line["event"] for line in lines].count("account_changed") == 1
        assert page.status_code == 200 and "correct horse battery" not in str(lines)
        secret = re.search(r"cs_\w{6}_[\w-]{43}", page.text)
        assert secret is not None and secret[0] not in str(lines)
