"""Clients that go away, processes that die: every call ends, and is metered."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from chatserver import DirectRequest, PromptMessage, TextPart
from chatserver.testing.server import Site
from chatserver.testing.upstream import FakeUpstream

from .conftest import rows, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def leave_early(client: httpx.AsyncClient, model: str) -> None:
    """Ask for a stream, read a little of it, and go."""
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        assert answer.status_code == 200
        async for _ in answer.aiter_bytes():
            break


async def test_who_leaves_is_metered_by_what_the_upstream_tells(site: Site, key: str) -> None:
    await leave_early(site.api(key), "fake-n30-gap20")

    async def is_done() -> bool:
        return [row[0] for row in await rows(site, "fake-n30-gap20")] == ["done"]

    await until(is_done)
    usage = (await rows(site, "fake-n30-gap20"))[0][3]
    assert '"output":30' in usage and "estimated" not in usage


async def test_without_room_the_connection_to_the_model_is_cut(site: Site, key: str, upstream: FakeUpstream) -> None:
    site.house.directs.left_most = 0
    try:
        await leave_early(site.api(key), "fake-n200-gap20")

        async def is_stopped() -> bool:
            return [row[0] for row in await rows(site, "fake-n200-gap20")] == ["stopped"]

        await until(is_stopped)
    finally:
        site.house.directs.left_most = 64
    usage = (await rows(site, "fake-n200-gap20"))[0][3]
    assert '"estimated":true' in usage
    assert upstream.counters.tokens < 10_000
    await until(lambda: _is_quiet(site))


async def _is_quiet(site: Site) -> bool:
    return len(site.house.directs) == 0


async def test_a_caller_that_stops_listening_is_metered(site: Site, key: str) -> None:
    actor = await site.house.accounts.actor_of_key(key)
    assert actor is not None
    asked = DirectRequest("chat", "fake-n5", (PromptMessage("user", (TextPart("Hi"),)),), labels={"for": "a test"})
    async with await site.house.directs.open(actor, asked) as call:
        async for _ in call.deltas():
            break
    assert call.usage.output == 5 and call.channel == "fake" and [one.outcome for one in call.attempts] == ["done"]
    async with await site.house.directs.open(actor, asked) as never:
        pass
    assert never.usage.calls == 0
    assert [row[0] for row in await rows(site, "fake-n5")][-2:] == ["done", "stopped"]


async def test_many_at_once_are_all_kept(site: Site, key: str) -> None:
    client = site.api(key)
    body = {"model": "fake-echo", "messages": [{"role": "user", "content": "Hi"}]}
    before = len(await rows(site, "fake-echo"))
    answers = await asyncio.gather(*(client.post("/v1/chat/completions", json=body) for _ in range(60)))
    assert {answer.status_code for answer in answers} == {200}
    assert [row[0] for row in await rows(site, "fake-echo")][before:] == ["done"] * 60


async def test_a_key_that_is_revoked_ends_what_it_began(site: Site) -> None:
    key = await site.make_key("ada@example.org")
    actor = await site.house.accounts.actor_of_key(key)
    assert actor is not None
    before = len(await rows(site, "fake-n200-gap20"))
    body = {"model": "fake-n200-gap20", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    told = b""
    async with site.api(key).stream("POST", "/v1/chat/completions", json=body) as answer:
        async for piece in answer.aiter_bytes():
            if not told:
                await site.house.accounts.revoke_key(actor, actor.key_id)
                await site.house.directs.check()
            told += piece
    assert b"was shut" in told and b"[DONE]" not in told
    assert [row[0] for row in await rows(site, "fake-n200-gap20")][before:] == ["stopped"]
