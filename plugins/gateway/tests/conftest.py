"""A served house with the gateway plugin and several channels to one upstream, over each engine in turn."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from chatserver_gateway import Gateway

from chatserver import Channel, ModelAlias
from chatserver.testing.server import Site, SiteClient, open_site
from chatserver.testing.upstream import FakeUpstream

MODEL = "fake-n5"


@pytest.fixture(params=["sqlite", "postgres"])
async def site(request: pytest.FixtureRequest, tmp_path: Path, fake_upstream: FakeUpstream) -> AsyncIterator[Site]:
    """Its channels are `fake`, `one` and `two`; the upstream tells them apart by their keys, `sk-fake` and so on."""
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else ""
    async with open_site(tmp_path, fake_upstream.base_url, models=(MODEL,), database_url=url) as site:
        await site.house.catalog.keep(
            Channel(
                name,
                "openai",
                base_url=fake_upstream.base_url,
                api_key=f"sk-{name}",
                models=(ModelAlias(MODEL, MODEL),),
                source="console",
            )
            for name in ("one", "two")
        )
        yield site


@pytest.fixture
def gateway(site: Site) -> Gateway:
    """The plugin of that house."""
    holder = site.house.plugins._plugins["gateway"].holder
    assert isinstance(holder, Gateway)
    return holder


async def ask(client: SiteClient, chat: str, text: str = "Hi") -> str:
    """The state of the answer to a question over the API, once it has ended."""
    answer = await client.post(f"/api/conversations/{chat}/messages", json={"text": text, "model": MODEL})
    assert answer.status_code == 202, answer.text
    turn = answer.json()["turn_id"]
    await client.get(f"/api/turns/{turn}/events")
    state = (await client.get(f"/api/turns/{turn}")).json()["state"]
    return str(state)


async def open_chat(client: SiteClient) -> str:
    return str((await client.post("/api/conversations", json={"title": "Mine"})).json()["id"])
