"""API keys in one's settings: made with what they may do, shown once, listed, revoked."""

from __future__ import annotations

import re

from chatserver.testing.server import Site


async def test_a_key_is_made_as_narrow_as_it_was_asked_for(site: Site) -> None:
    ada = await site.sign_up("ada@example.org")
    form = {"name": "robot", "scope": "models.use", "models": "fake-n5, fake-echo", "days": "30"}
    page = await ada.post("/settings/keys", data={**form, "requests_per_minute": "7"})
    shown = re.search(r"cs_[0-9a-z]{6}_[A-Za-z0-9_-]{43}", page.text)
    assert page.status_code == 200 and shown
    again = (await ada.get("/settings")).text
    assert shown[0] not in again
    for words in ("robot", "fake-n5, fake-echo", "models.use", "7 requests per minute", "ends "):
        assert words in again
    actor = await site.house.accounts.actor_of_key(shown[0])
    assert actor is not None
    assert (actor.scopes, actor.models, actor.requests_per_minute) == (("models.use",), ("fake-n5", "fake-echo"), 7)
    assert (await site.api(shown[0]).get("/v1/models")).json()["data"][0]["id"] == "fake-n5"
    assert (await site.api(shown[0]).post("/api/conversations", json={})).status_code == 403
    key_id = re.search(r'name="key_id" value="([^"]+)"', again)
    assert key_id
    await ada.post("/settings/keys/revoke", data={"key_id": key_id[1]})
    assert (await site.api(shown[0]).get("/v1/models")).status_code == 401


async def test_what_makes_no_sense_is_said_and_nothing_typed_is_lost(site: Site) -> None:
    ada = await site.sign_up("ada@example.org")
    for wrong in ({"days": "soon"}, {"scope": "everything"}, {"requests_per_minute": "-1"}, {"models": "x" * 300}):
        page = await ada.post("/settings/keys", data={"name": "my robot", **wrong})
        assert page.status_code == 422, wrong
        assert "No key was made." in page.text and 'value="my robot"' in page.text
    assert 'name="key_id"' not in (await ada.get("/settings")).text
