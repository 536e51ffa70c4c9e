"""Connecting a service by its key: tried before it is kept, sealed where it is kept, served on every node."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from chatserver.chat.channels import Connection
from chatserver.chat.sealing import Seal
from chatserver.domain.access import Actor
from chatserver.domain.extend import Admission, ChannelOffer, Refusal
from chatserver.errors import BadInput, Conflict, NotFound, Refused, SetupError, UpstreamError
from chatserver.hookspecs import hookimpl
from chatserver.house import House
from chatserver.testing.upstream import FakeUpstream
from tests.chat.conftest import Place, close_house, open_house, until

KEY = "sk-canary-5f1c0a"


class Offering:
    """A plugin that offers two services, one of a provider nobody brings."""

    @hookimpl
    def register_channel_offers(self) -> list[ChannelOffer]:
        return [ChannelOffer("openai", "The aviary", "https://parrots.example.org/v1"), ChannelOffer("none", "Nobody")]


class Strict:
    """A plugin that lets no probe in."""

    @hookimpl
    def admit_call(self, admission: Admission) -> Refusal | None:
        return Refusal("no_probes", "No probes today.", "Come back tomorrow.") if admission.kind == "probe" else None


async def admin_of(house: House, email: str = "root@example.org") -> Actor:
    account = await house.accounts.create(email, role="admin")
    return Actor(account, "web", "session")


@pytest.fixture
async def admin(house: House) -> Actor:
    return await admin_of(house)


async def connect(house: House, admin: Actor, upstream: FakeUpstream, name: str = "") -> str:
    return (await house.channels.connect(admin, Connection("openai", upstream.base_url + "/", KEY, name)))[0]


async def test_what_was_connected_serves_its_models_at_once(
    house: House, admin: Actor, fake_upstream: FakeUpstream
) -> None:
    before = {model.id for model in house.models(admin)}
    name, models = await house.channels.connect(admin, Connection("openai", fake_upstream.base_url, KEY))
    assert name == fake_upstream.base_url.removeprefix("http://").partition("/")[0]
    assert {model.id for model in house.models(admin)} == before | {model.id for model in models} != before
    (line,) = [line for line in await house.channels.lines(admin) if line.name == name]
    assert (line.source, line.models, line.problem) == ("console", len(models), "")
    trial = await house.channels.test(admin, models[0].id)
    assert trial.first_token_ms > 0 and trial.text


async def test_a_trial_is_a_metered_call_of_kind_probe(house: House, admin: Actor, fake_upstream: FakeUpstream) -> None:
    await connect(house, admin, fake_upstream)
    await house.channels.test(admin, "fake")
    kept = await house.db.read(lambda tx: tx.all(str, "SELECT kind || ' ' || state || ' ' || origin FROM calls"))
    assert kept == ["probe done job"]


async def test_a_plugin_may_refuse_a_trial(place: Place, fake_upstream: FakeUpstream) -> None:
    house = await open_house(place, fake_upstream, plugins=[("strict", Strict())])
    try:
        admin = await admin_of(house)
        with pytest.raises(Refused, match="No probes today. Come back tomorrow."):
            await house.channels.test(admin, "fake-n5")
    finally:
        await close_house(house)


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        (Connection("nobody", "http://127.0.0.1:1/v1"), BadInput),
        (Connection("openai", "ftp://127.0.0.1/v1"), BadInput),
        (Connection("openai", "http://[::1/v1"), BadInput),
        (Connection("openai", "http://user:pass@127.0.0.1/v1"), BadInput),
        (Connection("openai", "http://127.0.0.1:1/v1", "two\nlines"), BadInput),
        (Connection("openai", "http://127.0.0.1:1/v1", "k" * 5000), BadInput),
        (Connection("openai", "http://127.0.0.1:1/v1", KEY), UpstreamError),
        (Connection("openai", "http://169.254.169.254/v1", KEY), UpstreamError),
    ],
)
async def test_what_does_not_answer_is_not_kept(
    house: House, admin: Actor, wanted: Connection, error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        await house.channels.connect(admin, wanted)
    assert KEY not in str(caught.value)
    assert await house.db.read(lambda tx: tx.one(int, "SELECT COUNT(*) FROM channels")) == 0


async def test_a_name_is_taken_once(house: House, admin: Actor, fake_upstream: FakeUpstream) -> None:
    await connect(house, admin, fake_upstream, "Ours")
    for taken in ("Ours", "fake"):
        with pytest.raises(Conflict):
            await connect(house, admin, fake_upstream, taken)
    assert await connect(house, admin, fake_upstream) != await connect(house, admin, fake_upstream)


async def test_only_admins_see_or_change_them(house: House, fake_upstream: FakeUpstream) -> None:
    member = Actor(await house.accounts.create("member@example.org"), "web", "session")
    for attempt in (
        house.channels.lines(member),
        house.channels.connect(member, Connection("openai", fake_upstream.base_url, KEY)),
        house.channels.disconnect(member, "x"),
        house.channels.test(member, "fake-n5"),
    ):
        with pytest.raises(Refused):
            await attempt


async def test_it_can_be_taken_away_again(house: House, admin: Actor, fake_upstream: FakeUpstream) -> None:
    before = house.models(admin)
    name = await connect(house, admin, fake_upstream)
    (line,) = [line for line in await house.channels.lines(admin) if line.name == name]
    await house.channels.disconnect(admin, line.kept_id)
    assert house.models(admin) == before
    with pytest.raises(NotFound):
        await house.channels.disconnect(admin, line.kept_id)


async def test_the_key_is_nowhere_in_the_database(
    house: House, admin: Actor, place: Place, fake_upstream: FakeUpstream
) -> None:
    await connect(house, admin, fake_upstream)
    sealed = await house.db.read(lambda tx: tx.one(str, "SELECT sealed_key FROM channels"))
    assert sealed and KEY not in sealed
    if isinstance(place, Path):
        with sqlite3.connect(place) as file:
            file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        file.close()
        assert KEY.encode() not in place.read_bytes()


async def test_a_sealed_key_opens_only_beside_its_address(
    house: House, admin: Actor, fake_upstream: FakeUpstream
) -> None:
    await connect(house, admin, fake_upstream, "Ours")
    move = "UPDATE channels SET base_url = 'http://127.0.0.1:1/evil'"
    await house.db.write(lambda tx: tx.run(move))
    await house.db.write(lambda tx: tx.run("UPDATE facts SET value = 'moved' WHERE name = 'channels_version'"))
    with pytest.raises(SetupError, match="Channel 'Ours': A stored key cannot be opened"):
        await house.channels.look()


def test_seals_of_one_kind_open_nothing_of_another() -> None:
    key = bytes(range(32))
    sealed = Seal(key, "channels").seal(KEY, "here")
    assert Seal(key, "channels").open(sealed, "here") == KEY
    assert Seal(key, "channels").seal(KEY, "here") != sealed
    for seal, place, text in (
        (Seal(key, "other"), "here", sealed),
        (Seal(key[::-1], "channels"), "here", sealed),
        (Seal(key, "channels"), "there", sealed),
        (Seal(key, "channels"), "here", sealed[:-4] + "AAA="),
        (Seal(key, "channels"), "here", "b2" + sealed[2:]),
        (Seal(key, "channels"), "here", ""),
    ):
        with pytest.raises(SetupError):
            seal.open(text, place)


async def test_offers_of_absent_providers_are_not_shown(place: Place, fake_upstream: FakeUpstream) -> None:
    house = await open_house(place, fake_upstream, plugins=[("offering", Offering())])
    try:
        titles = [offer.title for offer in house.channels.offers()]
        assert "The aviary" in titles and "Nobody" not in titles
    finally:
        await close_house(house)


class TestOnManyNodes:
    @pytest.fixture
    def engine(self) -> str:
        return "postgres"

    async def test_another_node_serves_it_within_seconds(
        self, house: House, place: Place, fake_upstream: FakeUpstream
    ) -> None:
        other = await open_house(place, fake_upstream)
        try:
            admin = await admin_of(house)
            await connect(house, admin, fake_upstream)
            await until(lambda: len(other.models(admin)) == len(house.models(admin)), 10)
        finally:
            await close_house(other)
