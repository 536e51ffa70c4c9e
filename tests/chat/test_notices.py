"""What admins are told: it stays until it is read or cleared, comes again only in other words, and is theirs alone."""

from __future__ import annotations

import pytest

from chatserver import Context, hookimpl
from chatserver.chat import disk_watch
from chatserver.chat.disk_watch import DiskWatch
from chatserver.domain.access import Actor
from chatserver.domain.notices import NOTICES_LIMIT, SENTENCE_LIMIT, fill_in
from chatserver.errors import NotFound, Refused
from chatserver.house import House
from chatserver.testing.upstream import FakeUpstream
from tests.chat.conftest import Place, close_house, open_house

REFUSED = "The key of the channel %(channel)s was refused. Put a new one in."


async def admin_of(house: House) -> Actor:
    return Actor(await house.accounts.create("root@example.org", role="admin"), "web")


async def keys(house: House, admin: Actor) -> list[tuple[str, str]]:
    return [(one.source, one.key) for one in await house.notices.unread(admin)]


async def test_it_stays_until_read_and_comes_again_in_other_words(house: House) -> None:
    admin = await admin_of(house)
    board = house.notices.of_plugin("gateway")
    assert await board.tell("key one", REFUSED, "error", channel="one")
    assert not await board.tell("key one", REFUSED, "error", channel="one")
    (notice,) = await house.notices.unread(admin)
    assert (notice.source, notice.key, notice.level) == ("gateway", "key one", "error")
    assert fill_in(notice.sentence, notice.values) == "The key of the channel one was refused. Put a new one in."
    await house.notices.put_away(admin, "gateway", "key one")
    await house.notices.put_away(admin, "gateway", "key one")
    assert await house.notices.count_unread(admin) == 0
    assert not await board.tell("key one", REFUSED, "error", channel="one")
    assert await keys(house, admin) == []
    assert await board.tell("key one", "The channel %(channel)s fails.", channel="one")
    assert await keys(house, admin) == [("gateway", "key one")]


async def test_clearing_ends_it_and_lets_it_be_told_anew(house: House) -> None:
    admin = await admin_of(house)
    board = house.notices.of_plugin("gateway")
    await board.tell("key one", REFUSED, channel="one")
    await house.notices.of_plugin("other").clear("key one")
    await house.notices.core.clear("key one")
    assert await keys(house, admin) == [("gateway", "key one")]
    assert await board.clear("key one")
    assert not await board.clear("key one")
    assert await board.tell("key one", REFUSED, channel="one")


async def test_only_admins_read_and_put_away(house: House) -> None:
    member = Actor(await house.accounts.create("ann@example.org"), "web")
    narrow = Actor(await house.accounts.create("root@example.org", role="admin"), "api", scopes=("chat",))
    await house.notices.core.tell("disk", "The disk is nearly full.")
    for actor in (member, narrow):
        assert await house.notices.count_unread(actor) == 0
        with pytest.raises(Refused):
            await house.notices.unread(actor)
        with pytest.raises(Refused):
            await house.notices.put_away(actor, "", "disk")
    with pytest.raises(NotFound):
        await house.notices.put_away(Actor(narrow.account, "web"), "", "tape")


async def test_a_source_has_room_for_so_many(house: House) -> None:
    admin = await admin_of(house)
    await house.notices.core.tell("mine", "Still here.")
    board = house.notices.of_plugin("chatty")
    for number in range(NOTICES_LIMIT + 3):
        await board.tell(f"{number:04}", "x" * (SENTENCE_LIMIT + 1), "info")
    told = await keys(house, admin)
    assert len(told) == NOTICES_LIMIT + 1
    assert ("", "mine") in told
    assert ("chatty", "0002") not in told
    assert ("chatty", f"{NOTICES_LIMIT + 2:04}") in told


def test_a_sentence_that_does_not_fit_its_values_is_shown_as_it_stands() -> None:
    assert fill_in("50 % of %(what)s", {}) == "50 % of %(what)s"
    assert fill_in("50 % of %(what)s", {"where": "here"}) == "50 % of %(what)s"


class Fragile:
    @hookimpl
    async def startup(self, ctx: Context) -> None:
        await ctx.notices.tell("hello", "Good morning.", "info")

    @hookimpl
    async def nav_items(self, actor: Actor) -> list[object]:
        raise RuntimeError("a leaf fell")


async def test_a_plugin_set_aside_is_told_and_cleared_with_it(place: Place, fake_upstream: FakeUpstream) -> None:
    house = await open_house(place, fake_upstream, plugins=[("fragile", Fragile())])
    admin = await admin_of(house)
    assert await keys(house, admin) == [("fragile", "hello")]
    for _ in range(5):
        await house.plugins.gather("nav_items", actor=admin)
    await house.notices.core.settle()
    notice = next(one for one in await house.notices.unread(admin) if not one.source)
    assert notice.key == "plugin fragile"
    assert "a leaf fell" not in fill_in(notice.sentence, notice.values)
    house.plugins.switch("fragile", True)
    await house.notices.core.settle()
    assert await keys(house, admin) == [("fragile", "hello")]
    await close_house(house)


async def test_a_disk_that_fills_up_is_told_once_and_taken_back(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    admin = await admin_of(house)
    free = [disk_watch.LOW_BYTES]
    monkeypatch.setattr(disk_watch, "free_bytes", lambda folder: free[-1])
    watch = DiskWatch(house.notices.core, house.blobs.spool)
    await watch.run({})
    assert ("", "disk") not in await keys(house, admin)
    for left in (disk_watch.LOW_BYTES - 1, 0, disk_watch.ENOUGH_BYTES):
        free.append(left)
        await watch.run({})
        assert (await keys(house, admin)).count(("", "disk")) == 1
    free.append(disk_watch.ENOUGH_BYTES + 1)
    await watch.run({})
    assert ("", "disk") not in await keys(house, admin)
