"""One model name at two vendors: whichever fails before its first word, the other answers; and tools in rounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from chatserver import Channel, ModelAlias, Tool, ToolOutcome, ToolSpec, ToolUse, clock, hookimpl
from chatserver.testing.server import SiteClient, open_site
from chatserver.testing.upstream import FakeUpstream, Rule, ToolAsk

MODEL = "oak"
Asked = dict[str, Any]


@pytest.fixture
def other_upstream() -> Iterator[FakeUpstream]:
    """Another vendor, with another format."""
    with FakeUpstream.in_thread() as upstream:
        yield upstream


class Look:
    spec = ToolSpec("look", "Looks.", {"type": "object"})
    needs_consent = False

    async def call(self, arguments: dict[str, Any], use: ToolUse) -> ToolOutcome:
        return ToolOutcome(f"forty metres, for {arguments}")


class Bench:
    @hookimpl
    def register_tools(self) -> list[Tool]:
        return [Look()]


@asynccontextmanager
async def chat_with(folder: Path, *channels: Channel, plugins: Any = ()) -> AsyncIterator[SiteClient]:
    async with open_site(folder, plugins=plugins) as site:
        await site.house.catalog.keep(channels)
        yield await site.sign_up("ada@example.org")


async def answer(ada: SiteClient, **tuning: Any) -> tuple[Asked, list[Asked]]:
    """A turn that is over, and the messages of its chat."""
    chat = (await ada.post("/api/conversations", json={"title": "Mine"})).json()["id"]
    if tuning:
        await ada.patch(f"/api/conversations/{chat}", json=tuning)
    sent = await ada.post(f"/api/conversations/{chat}/messages", json={"text": "How tall?", "model": MODEL})
    turn_id, deadline = sent.json()["turn_id"], clock.monotonic_s() + 20
    while (turn := (await ada.get(f"/api/turns/{turn_id}")).json())["state"] == "running":
        assert clock.monotonic_s() < deadline
        await asyncio.sleep(0.01)
    return turn, (await ada.get(f"/api/conversations/{chat}/messages")).json()["messages"]


def served(provider: str, upstream: FakeUpstream, priority: int, model: str = "fake-n5") -> Channel:
    alias = (ModelAlias(MODEL, model),)
    return Channel(provider, provider, upstream.base_url, "sk-1", alias, priority=priority, source="console")


@pytest.mark.parametrize("fault", ["err529", "err500", "err401", "err429-retry9"])
@pytest.mark.parametrize("first", ["anthropic", "openai"])
async def test_one_vendor_stands_in_for_the_other(
    tmp_path: Path, fake_upstream: FakeUpstream, other_upstream: FakeUpstream, first: str, fault: str
) -> None:
    vendors = {"anthropic": fake_upstream, "openai": other_upstream}
    vendors[first].rules = [Rule(options=fault)]
    channels = [served(name, upstream, 10 if name == first else 0) for name, upstream in vendors.items()]
    async with chat_with(tmp_path, *channels) as ada:
        turn, messages = await answer(ada)
    assert turn["state"] == "done"
    assert [attempt["channel"] for attempt in turn["attempts"]] == sorted(vendors, key=lambda name: name != first)
    assert "".join(part["text"] for part in messages[-1]["parts"]) == "t0 t1 t2 t3 t4 "
    assert [len(upstream.chats()) for upstream in vendors.values()] == [1, 1]
    assert turn["usage"]["output"] == 5


async def test_a_round_gives_the_thoughts_before_its_calls_back(tmp_path: Path, fake_upstream: FakeUpstream) -> None:
    model = "claude-opus-4-6-n5-think3"
    fake_upstream.tool_rounds[model] = [[ToolAsk("look", '{"tree": "oak"}', "toolu_1")]]
    channel = served("anthropic", fake_upstream, 0, model)
    async with chat_with(tmp_path, channel, plugins=[("bench", Bench())]) as ada:
        turn, messages = await answer(ada)
    assert turn["state"] == "done"
    kinds = [part["type"] for part in messages[-1]["parts"]]
    assert kinds == ["reasoning", "text", "tool_call", "tool_result", "reasoning", "text"]
    first, second = fake_upstream.chats()
    assert [message["role"] for message in first.json["messages"]] == ["user"]
    _, said, given = second.json["messages"]
    assert [block["type"] for block in said["content"]] == ["thinking", "text", "tool_use"]
    assert (said["content"][0]["thinking"], said["content"][0]["signature"]) == ("t0 t1 t2 ", "c2lnbmVk")
    assert said["content"][2] == {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"tree": "oak"}}
    assert given["content"][0]["content"] == "forty metres, for {'tree': 'oak'}"


async def test_another_vendor_finishes_a_round_without_the_thoughts(
    tmp_path: Path, fake_upstream: FakeUpstream, other_upstream: FakeUpstream
) -> None:
    model = "claude-opus-4-6-n5-think3"
    fake_upstream.tool_rounds[model] = [[ToolAsk("look", '{"tree": "oak"}', "toolu_1")]]
    channels = (served("anthropic", fake_upstream, 10, model), served("openai", other_upstream, 0))

    class Breaking(Look):
        async def call(self, arguments: dict[str, Any], use: ToolUse) -> ToolOutcome:
            fake_upstream.rules = [Rule(options="err529")]
            return ToolOutcome("forty metres")

    class BreakingBench:
        @hookimpl
        def register_tools(self) -> list[Tool]:
            return [Breaking()]

    async with chat_with(tmp_path, *channels, plugins=[("bench", BreakingBench())]) as ada:
        turn, _ = await answer(ada)
    assert turn["state"] == "done"
    assert [attempt["channel"] for attempt in turn["attempts"]] == ["anthropic", "anthropic", "openai"]
    (seen,) = other_upstream.chats()
    assert [message["role"] for message in seen.json["messages"]] == ["user", "assistant", "tool"]
    assert b"c2lnbmVk" not in seen.body
