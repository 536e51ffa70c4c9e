"""Who is suspended is out everywhere within seconds, and groups hold from the next request on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from chatserver.chat.accounts import Accounts
from chatserver.clock import monotonic_s
from chatserver.testing.server import Site, open_site
from chatserver.testing.upstream import FakeUpstream
from tests.engines import ENGINES, postgres_with_schema

pytestmark = pytest.mark.asyncio(loop_scope="module")
DEADLINE_S = 20.0


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=ENGINES)
async def each_site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A site on each engine in turn."""
    folder = tmp_path_factory.mktemp("site")
    with FakeUpstream.in_thread() as upstream:
        if request.param == "sqlite":
            async with open_site(folder, upstream.base_url, models=("fake-n5", "fake-hang")) as site:
                yield site
        else:
            async with (
                postgres_with_schema(request.getfixturevalue("postgres_server")) as url,
                open_site(folder, upstream.base_url, models=("fake-n5", "fake-hang"), database_url=url) as site,
            ):
                yield site


async def send(client: httpx.AsyncClient, model: str) -> httpx.Response:
    chat = (await client.post("/api/conversations", json={})).json()["id"]
    body = {"parent_id": None, "text": "Hi", "model": model}
    return await client.post(f"/api/conversations/{chat}/messages", json=body)


async def said_by_v1(client: httpx.AsyncClient) -> int:
    body = {"model": "fake-hang", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    return len((await client.post("/v1/chat/completions", json=body)).content)


async def test_a_suspension_by_another_process_ends_all_that_runs(each_site: Site) -> None:
    """As the command line does it: nothing in this process is told."""
    site = each_site
    ada = await site.sign_up("ada@example.org")
    assert ada.actor is not None
    program = site.api(await site.make_key("ada@example.org"))
    turn = (await send(ada, "fake-hang")).json()["turn_id"]
    streams = [
        asyncio.create_task(ada.get(f"/events?turns={turn}:0")),
        asyncio.create_task(program.get(f"/api/turns/{turn}/events")),
        asyncio.create_task(said_by_v1(program)),
    ]
    deadline = monotonic_s() + DEADLINE_S
    while not len(site.house.directs):
        assert monotonic_s() < deadline
        await asyncio.sleep(0.02)
    elsewhere = Accounts(site.house.db, site.house.plugins, site.house.secret_key)
    await elsewhere.update(ada.actor.account_id, state="suspended")
    async with asyncio.timeout(DEADLINE_S):
        await asyncio.gather(*streams)
        while (found := await site.house.readers.turn(ada.actor, turn)).state == "running":
            await asyncio.sleep(0.02)
    assert found.state == "stopped"
    assert [(await client.get("/api/account")).status_code for client in (ada, program)] == [401, 401]
    await elsewhere.update(ada.actor.account_id, state="active")
    async with asyncio.timeout(DEADLINE_S):
        while (await program.get("/api/account")).status_code != 200:
            await asyncio.sleep(0.02)


async def test_within_five_seconds_nothing_of_a_suspended_account_is_open(each_site: Site) -> None:
    """With the looks of a server as it runs, none of them hurried; the act is another process's."""
    site = each_site
    bea = await site.sign_up("bea@example.org")
    assert bea.actor is not None
    program, stranger = site.api(await site.make_key("bea@example.org")), site.browser()
    asked = (await send(bea, "fake-n5")).json()
    await bea.get(f"/api/turns/{asked['turn_id']}/events")
    chat = (await bea.get("/api/conversations")).json()["conversations"][0]["id"]
    share = await bea.post(f"/api/conversations/{chat}/shares", json={"tip": asked["reply_id"]})
    shared = httpx.URL(share.json()["url"]).path
    assert [(await stranger.get(f"{shared}{rest}")).status_code for rest in ("", "/alive")] == [200, 204]
    turns = [(await send(bea, "fake-hang")).json()["turn_id"] for _ in range(2)]
    streams = [
        asyncio.create_task(bea.get(f"/events?turns={turns[0]}:0")),
        asyncio.create_task(program.get(f"/api/turns/{turns[1]}/events")),
        asyncio.create_task(said_by_v1(program)),
    ]
    async with asyncio.timeout(DEADLINE_S):
        while not len(site.house.directs) or len(site.app.state.streams) < 2:
            await asyncio.sleep(0.01)
    elsewhere = Accounts(site.house.db, site.house.plugins, site.house.secret_key)
    await elsewhere.update(bea.actor.account_id, state="suspended")
    async with asyncio.timeout(5):
        await asyncio.gather(*streams)
        while [(await site.house.readers.turn(bea.actor, turn)).state for turn in turns] != ["stopped"] * 2:
            await asyncio.sleep(0.02)
        while len(site.house.live) or len(site.house.directs) or len(site.app.state.streams):
            await asyncio.sleep(0.02)
        for client, path, status in (
            (bea, "/api/account", 401),
            (bea, "/", 303),
            (program, "/api/account", 401),
            (program, "/v1/models", 401),
            (stranger, shared, 404),
            (stranger, f"{shared}/alive", 404),
        ):
            while (await client.get(path, headers={"accept": "text/html"})).status_code != status:
                await asyncio.sleep(0.02)


async def test_groups_hold_from_the_next_request_on(each_site: Site) -> None:
    site = each_site
    boss = await site.sign_up("boss@example.org", role="admin")
    await site.sign_up("eve@example.org")
    eve = await site.house.accounts.by_email("eve@example.org")
    assert eve is not None
    program = site.api(await site.make_key("eve@example.org"))
    upstream = site.house.catalog.reports()[0].channel.base_url
    added = await boss.post(
        "/admin/channels",
        data={"name": "Staff", "provider": "openai", "base_url": upstream, "api_key": "sk-x", "models": "ours=fake-n5",
              "groups": "staff", "is_on": "1", "weight": "1"},
    )  # fmt: skip
    assert added.status_code == 303, added.text

    async def sees() -> tuple[Any, ...]:
        listed = (await program.get("/api/models")).json()
        api = (await program.get("/v1/models")).json()["data"]
        found = listed if isinstance(listed, list) else listed["models"]
        body = {"model": "ours", "messages": [{"role": "user", "content": "Hi"}]}
        called = await program.post("/v1/chat/completions", json=body)
        return (
            "ours" in [one["id"] for one in found],
            "ours" in [one["id"] for one in api],
            (await send(program, "ours")).status_code < 300,
            called.status_code,
        )

    async with asyncio.timeout(DEADLINE_S):
        while not any(model.id == "ours" for model in site.house.catalog.models(("staff",))):
            await asyncio.sleep(0.02)
    assert await sees() == (False, False, False, 404)
    await site.house.accounts.update(eve.id, groups=("default", "staff"))
    assert await sees() == (True, True, True, 200)
    await site.house.accounts.update(eve.id, groups=("default",))
    assert await sees() == (False, False, False, 404)
