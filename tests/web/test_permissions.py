"""Permissions at the door: what a key's scopes leave out, and what a plugin vetoes, on routes and streams alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatserver import Actor, hookimpl
from chatserver.testing.server import open_site


class NoGuests:
    """Accounts of guests may look at nothing."""

    is_broken = False

    @hookimpl
    def permission_allowed(self, actor: Actor, permission: str) -> bool | None:
        if self.is_broken:
            raise OSError("the list of guests is gone")
        return False if actor.account.email.startswith("guest") and permission == "chat.use" else None


PATHS = ("/api/conversations", "/api/search?q=x", "/events?turns=x:0", "/api/turns/x/events")


async def test_a_key_reaches_no_further_than_its_scopes(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        await site.sign_up("ann@example.org")
        narrow = site.api(await site.make_key("ann@example.org", scopes=["models.use"]))
        wide = site.api(await site.make_key("ann@example.org", scopes=["chat"]))
        for path in PATHS:
            answer = await narrow.get(path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "not_allowed"), path
        assert (await wide.get("/api/conversations")).status_code == 200
        assert (await wide.get("/api/turns/x/events")).status_code == 404


async def test_a_plugins_veto_holds_and_the_guest_can_still_leave(tmp_path: Path) -> None:
    async with open_site(tmp_path, plugins=[("guests", NoGuests())]) as site:
        guest, ann = await site.sign_up("guest@example.org"), await site.sign_up("ann@example.org")
        for path in ("/", *PATHS):
            assert (await guest.get(path)).status_code == 403, path
        assert (await ann.get("/api/conversations")).status_code == 200
        assert (await guest.post("/sign-out")).status_code in (200, 303)


@pytest.mark.parametrize("tries", [1, 7])
async def test_a_broken_guard_means_no(tmp_path: Path, tries: int) -> None:
    plugin = NoGuests()
    async with open_site(tmp_path, plugins=[("guests", plugin)]) as site:
        ann = await site.sign_up("ann@example.org")
        plugin.is_broken = True
        for _ in range(tries):
            assert (await ann.get("/api/conversations")).status_code == 500
        plugin.is_broken = False
        assert (await ann.get("/api/conversations")).status_code == 200
