"""My data at the door: all of it as a file, and leaving for good."""

from __future__ import annotations

import asyncio
import gzip
import io
from collections.abc import AsyncIterator
from typing import Any

import pytest

from chatserver.chat.export_reader import read_export
from chatserver.chat.exports import Exports
from chatserver.clock import monotonic_s
from chatserver.testing.server import PASSWORD, Site, SiteClient

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def talk(client: SiteClient, text: str) -> str:
    conversation: str = (await client.post("/api/conversations", json={"title": text})).json()["id"]
    body = {"parent_id": None, "text": text, "model": "fake-n5"}
    sent = (await client.post(f"/api/conversations/{conversation}/messages", json=body)).json()
    async with client.stream("GET", f"/api/turns/{sent['turn_id']}/events") as events:
        await events.aread()
    return conversation


async def resident(site: Site, email: str, **more: Any) -> SiteClient:
    """Somebody with a password, signed in through the door."""
    await site.house.accounts.create(email, secret=PASSWORD, **more)
    return await site.sign_in(email)


async def test_everything_is_handed_out_and_nobody_elses(shared_site: Site) -> None:
    ada = await shared_site.sign_up("takes-along@example.org")
    bob = await shared_site.sign_up("stays-out@example.org")
    first, second = await talk(ada, "the first chat"), await talk(ada, "the second chat")
    await talk(bob, "not hers")
    plain = await ada.get("/api/account/export", params={"packed": 0})
    packed = await ada.get("/api/account/export")
    assert plain.headers["content-disposition"].startswith('attachment; filename="chatserver 20')
    assert packed.headers["content-type"] == "application/gzip" and "jsonl.gz" in packed.headers["content-disposition"]
    for raw in (plain.content, gzip.decompress(packed.content)):
        held = list(read_export(io.BytesIO(raw)))
        assert {conversation.id for _, conversation in held} == {first, second}
        assert {email for email, _ in held} == {"takes-along@example.org"} and b"not hers" not in raw


async def test_one_at_a_time(shared_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = await shared_site.sign_up("twice@example.org")
    going = asyncio.Event()

    async def slowly(self: Exports, accounts: Any) -> AsyncIterator[bytes]:
        yield b"begun\n"
        await going.wait()

    monkeypatch.setattr(Exports, "export", slowly)
    async with ada.stream("GET", "/api/account/export", params={"packed": 0}) as first:
        await anext(first.aiter_bytes())
        refused = await ada.get("/api/account/export")
        assert refused.status_code == 429 and refused.json()["error"]["code"] == "exports_per_account"
        going.set()
    deadline = monotonic_s() + 10
    while (await ada.get("/api/account/export")).status_code != 200:
        assert monotonic_s() < deadline
        await asyncio.sleep(0.05)


async def test_leaving_takes_the_password_and_then_everything(shared_site: Site) -> None:
    site = shared_site
    ada = await resident(site, "leaves@example.org")
    phone = await site.sign_in("leaves@example.org")
    key = site.api(await site.make_key("leaves@example.org"))
    conversation = await talk(ada, "to be erased")
    link = (await ada.post(f"/api/conversations/{conversation}/shares", json={})).json()["url"]
    page = await ada.get("/settings/data/delete")
    assert "1 chat with 2 messages" in page.text and "leaves@example.org" in page.text
    wrong = await ada.post("/settings/data/delete", data={"password": "not this"})
    assert wrong.status_code == 200 and "The password is not right" in wrong.text
    assert (await ada.get(f"/api/conversations/{conversation}")).status_code == 200

    gone = await ada.post("/settings/data/delete", data={"password": PASSWORD})
    assert gone.status_code == 200 and "Your account is deleted" in gone.text
    assert "Max-Age=0" in gone.headers["set-cookie"] and gone.headers["clear-site-data"] == '"storage"'
    for client in (phone, key):
        assert (await client.get("/api/account")).status_code == 401
    assert (await site.browser().get(link.removeprefix(site.url))).status_code == 404
    answer = await site.browser().post("/sign-in", data={"email": "leaves@example.org", "password": PASSWORD})
    assert answer.status_code == 401
    deadline = monotonic_s() + 20
    sql = "SELECT COUNT(*) FROM conversations WHERE id = :id"
    while await site.house.db.read(lambda tx: tx.one(int, sql, id=conversation)):
        assert monotonic_s() < deadline
        await asyncio.sleep(0.05)


async def test_only_a_page_of_ours_can_make_one_leave(shared_site: Site) -> None:
    site = shared_site
    ada = await resident(site, "stays@example.org")
    form = {"password": PASSWORD}
    for headers in ({"sec-fetch-site": "cross-site"}, {"x-csrf": "wrong"}):
        assert (await ada.post("/settings/data/delete", data=form, headers=headers)).status_code == 403
    key = site.api(await site.make_key("stays@example.org"))
    assert (await key.post("/settings/data/delete", data=form)).status_code == 403
    assert (await ada.get("/api/account")).status_code == 200


async def test_the_last_admin_is_told_why_not(shared_site: Site) -> None:
    site = shared_site
    admin = await resident(site, "last-admin@example.org", role="admin")
    answer = await admin.post("/settings/data/delete", data={"password": PASSWORD})
    assert "You are the only admin" in answer.text
    assert (await admin.get("/api/account")).status_code == 200


async def test_tries_are_counted_like_those_at_the_door(shared_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site = shared_site
    ada = await resident(site, "guesses@example.org")
    guard = site.app.state.sign_in.guard
    monkeypatch.setattr(guard, "_near", type(guard._near)("sign_ins_per_quarter_hour", 2, 900))
    for _ in range(2):
        await ada.post("/settings/data/delete", data={"password": "not this"})
    answer = await ada.post("/settings/data/delete", data={"password": PASSWORD})
    assert "sign_ins_per_quarter_hour" in answer.text and (await ada.get("/api/account")).status_code == 200
