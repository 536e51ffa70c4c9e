"""Channels and models changed in the console: kept, served from the next request, and no key is ever told."""

from __future__ import annotations

import msgspec
import pytest

from chatserver.domain.access import Actor
from chatserver.domain.channels import ChannelWish, ModelRule
from chatserver.errors import BadInput, Conflict, NotFound, Refused, UpstreamError
from chatserver.house import House
from chatserver.testing.upstream import FakeUpstream
from tests.chat.conftest import Person, Place, close_house, open_house, until

KEY = "sk-canary-77d0be"


@pytest.fixture
async def admin(house: House) -> Actor:
    await house.catalog._first.wait()  # its models were told: nothing is under way when a short test ends
    return Actor(await house.accounts.create("root@example.org", role="admin"), "web", "session")


def wish(upstream: FakeUpstream, **more: object) -> ChannelWish:
    made = ChannelWish("Ours", "openai", upstream.base_url, KEY, models=("quick=fake-n5",))
    return msgspec.structs.replace(made, **more)


def names(house: House, actor: Actor) -> set[str]:
    return {model.id for model in house.models(actor)}


async def test_a_channel_is_added_changed_switched_and_removed(
    house: House, admin: Actor, fake_upstream: FakeUpstream
) -> None:
    made = await house.console.add(admin, wish(fake_upstream, concurrency=3, note="for us", groups=("default", "b")))
    assert "quick" in names(house, admin)
    entry = await house.console.entry(admin, made)
    assert entry.has_key and entry.served == ("quick",) and entry.wish.api_key == "" and entry.wish.concurrency == 3
    (through,) = house.catalog.candidates("quick", ["b"])
    assert (through.upstream_model, through.channel.concurrency, through.channel.api_key) == ("fake-n5", 3, KEY)
    await house.console.change(
        admin, made, msgspec.structs.replace(entry.wish, weight=7, priority=9, models=("swift",))
    )
    (through,) = house.catalog.candidates("swift", ["default"])
    assert (through.channel.weight, through.channel.priority, through.channel.api_key) == (7, 9, KEY)
    assert await house.console.switch(admin, made, False) == "Ours"
    assert "swift" not in names(house, admin)
    assert (await house.console.test(admin, "Ours", "swift")).first_token_ms > 0, "one that is off can be tested"
    await house.console.switch(admin, made, True)
    assert "swift" in names(house, admin)
    await house.channels.disconnect(admin, made)
    with pytest.raises(NotFound):
        await house.console.switch(admin, made, True)
    with pytest.raises(NotFound):
        await house.console.change(admin, made, wish(fake_upstream))


async def test_a_key_goes_to_no_other_address(house: House, admin: Actor, fake_upstream: FakeUpstream) -> None:
    made = await house.console.add(admin, wish(fake_upstream))
    elsewhere = wish(fake_upstream, api_key="", base_url="http://127.0.0.1:1/v1")
    with pytest.raises(BadInput, match="sent to no other address"):
        await house.console.change(admin, made, elsewhere)
    await house.console.change(admin, made, msgspec.structs.replace(elsewhere, forgets_key=True))
    assert not (await house.console.entry(admin, made)).has_key
    with pytest.raises(UpstreamError):
        await house.console.test(admin, "Ours")


async def test_what_makes_no_sense_is_not_kept(house: House, admin: Actor, fake_upstream: FakeUpstream) -> None:
    for change in (
        {"name": " "},
        {"name": "x" * 61},
        {"provider": "nobody"},
        {"base_url": "ftp://example.org"},
        {"weight": -1},
        {"tokens_per_minute": 1 << 40},
        {"models": ("a=b", "a")},
        {"models": ("=b",)},
        {"groups": ("x" * 61,)},
        {"api_key": "two\nlines"},
    ):
        with pytest.raises(BadInput):
            await house.console.add(admin, wish(fake_upstream, **change))
    assert await house.db.read(lambda tx: tx.one(int, "SELECT COUNT(*) FROM channels")) == 0


async def test_the_file_wins_and_names_are_taken_once(house: House, admin: Actor, fake_upstream: FakeUpstream) -> None:
    made = await house.console.add(admin, wish(fake_upstream))
    for taken in ("fake", "Ours"):
        with pytest.raises(Conflict):
            await house.console.add(admin, wish(fake_upstream, name=taken))
    other = await house.console.add(admin, wish(fake_upstream, name="Other"))
    for taken in ("fake", "Ours"):
        with pytest.raises(Conflict):
            await house.console.change(admin, other, wish(fake_upstream, name=taken))
    await house.db.write(lambda tx: tx.run("UPDATE channels SET name = 'fake' WHERE id = :id", id=made))
    entries = await house.console.entries(admin)
    assert [(one.source, one.id, one.is_hidden) for one in entries if one.wish.name == "fake"] == [
        ("file", "", False),
        ("console", made, True),
    ]


async def test_a_model_is_turned_off_and_kept_to_groups(house: House, admin: Actor) -> None:
    member = Actor(await house.accounts.create("ann@example.org", groups=["default", "staff"]), "web", "session")
    assert "fake-n5" in names(house, admin)
    await house.console.rule(admin, ModelRule("fake-n5", False))
    assert "fake-n5" not in names(house, admin) and house.catalog.candidates("fake-n5", ["default"]) == ()
    entry = next(one for one in await house.console.models(admin) if one.model == "fake-n5")
    assert not entry.rule.is_on and [service.channel for service in entry.services] == ["fake"]
    await house.console.rule(admin, ModelRule("fake-n5", True, ("staff",)))
    assert "fake-n5" in names(house, member) and "fake-n5" not in names(house, admin)
    await house.console.rule(admin, ModelRule("fake-n5"))
    assert "fake-n5" in names(house, admin)
    with pytest.raises(NotFound):
        await house.console.rule(admin, ModelRule("nobody's", False))


async def test_only_admins(house: House, admin: Actor, fake_upstream: FakeUpstream) -> None:
    member = Actor(await house.accounts.create("ann@example.org"), "web", "session")
    for attempt in (
        house.console.entries(member),
        house.console.add(member, wish(fake_upstream)),
        house.console.change(member, "x", wish(fake_upstream)),
        house.console.switch(member, "x", True),
        house.console.test(member, "fake"),
        house.console.models(member),
        house.console.rule(member, ModelRule("fake-n5", False)),
    ):
        with pytest.raises(Refused):
            await attempt


class TestOnManyNodes:
    @pytest.fixture
    def engine(self) -> str:
        return "postgres"

    async def test_what_was_switched_holds_on_another_node(
        self, house: House, admin: Actor, place: Place, fake_upstream: FakeUpstream
    ) -> None:
        other = await open_house(place, fake_upstream)
        try:
            made = await house.console.add(admin, wish(fake_upstream))
            await until(lambda: "quick" in names(other, admin), 10)
            await house.console.switch(admin, made, False)
            await house.console.rule(admin, ModelRule("fake-n5", False))
            await until(lambda: not {"quick", "fake-n5"} & names(other, admin), 10)
        finally:
            await close_house(other)


async def test_the_overview_counts_what_people_asked_and_no_probe(house: House, admin: Actor) -> None:
    person = Person(house, admin)
    await person.ask(await person.start(), "Hi")
    await house.console.test(admin, "fake", "fake-n5")
    seen = await house.overviews.read(admin, span_hours=1, count=24)
    assert (seen.total.calls, seen.total.errors, seen.accounts, len(seen.spans)) == (1, 0, 1, 24)
    assert seen.total.tokens > 0 and seen.p50_ms is not None and seen.models[0].name == "fake-n5"
    assert sum(span.calls for span in seen.spans) == 1
