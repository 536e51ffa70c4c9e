"""Two nodes on one PostgreSQL: what an admin switches on one holds on the other within five seconds."""

from __future__ import annotations

import msgspec
import pytest

from chatserver.domain.access import Actor
from chatserver.domain.channels import ChannelWish
from chatserver.errors import ChatserverError
from chatserver.testing.upstream import FakeUpstream
from tests.chat.conftest import Place, until
from tests.chat.test_nodes import two_nodes

PROMISED_S = 5.0
TOKENS = 300
LONG = f"fake-n{TOKENS}-gap10"


@pytest.fixture
def engine() -> str:
    return "postgres"


async def test_a_channel_switched_off_is_avoided_everywhere_and_streams_finish(
    place: Place, fake_upstream: FakeUpstream
) -> None:
    async with two_nodes(place, fake_upstream) as (here, there):
        admin = Actor(await here.house.accounts.create("root@example.org", role="admin"), "web", "session")
        wish = ChannelWish("extra", "openai", fake_upstream.base_url, "sk-extra", models=(f"only={LONG}",))

        def is_served() -> bool:
            return bool(there.house.catalog.candidates("only", ("default",)))

        async def weigh(weight: int) -> None:
            await here.house.console.change(admin, channel_id, msgspec.structs.replace(wish, api_key="", weight=weight))

        channel_id = await here.house.console.add(admin, wish)
        await until(is_served, PROMISED_S)
        sent = await there.house.sending.send(there.actor, await there.start(), None, "go", "only")
        await until(lambda: any(one.key == "sk-extra" for one in fake_upstream.chats()))
        await weigh(0)
        await until(lambda: not is_served(), PROMISED_S)
        assert (await there.ended(sent.turn_id)).state == "done"
        text, _, _ = await there.read(sent.turn_id)
        assert len(text.split()) == TOKENS, "the stream that ran was not cut"
        with pytest.raises(ChatserverError):
            await there.house.sending.send(there.actor, await there.start(), None, "go", "only")

        await weigh(3)
        await until(is_served, PROMISED_S)
        await here.house.console.switch(admin, channel_id, False)
        await until(lambda: not is_served(), PROMISED_S)
        await here.house.console.switch(admin, channel_id, True)
        await until(is_served, PROMISED_S)
