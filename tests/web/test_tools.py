"""Tools as people and programs meet them: blocks on the page, events of a turn, the question before a tool acts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from chatserver.clock import monotonic_s
from chatserver.domain.extend import ToolSpec
from chatserver.domain.tools import Tool, ToolOutcome, ToolUse
from chatserver.hookspecs import hookimpl
from chatserver.testing.server import Site, SiteClient, open_site
from chatserver.testing.upstream import FakeUpstream, ToolAsk

pytestmark = pytest.mark.asyncio(loop_scope="module")
EVIL = "</pre></details><script>alert(1)</script>\ue000once\ue001"


class Made:
    def __init__(self, name: str, *, needs_consent: bool = False) -> None:
        self.spec = ToolSpec(name, "Does it.", {"type": "object"})
        self.needs_consent = needs_consent
        self.free = asyncio.Event()
        self.free.set()
        self.calls = 0

    async def call(self, arguments: dict[str, Any], use: ToolUse) -> ToolOutcome:
        self.calls += 1
        await self.free.wait()
        return ToolOutcome(f"result of {self.spec.name} {EVIL}")


class Bench:
    def __init__(self) -> None:
        self.look, self.write = Made("garden__look"), Made("write", needs_consent=True)

    @hookimpl
    def register_tools(self) -> list[Tool]:
        return [self.look, self.write]


class Set(dict[str, Any]):
    """The server, its upstream, its tools and somebody signed in."""

    site: Site
    upstream: FakeUpstream
    bench: Bench
    ada: SiteClient


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Set]:
    folder: Path = tmp_path_factory.mktemp("site")
    with FakeUpstream.in_thread() as upstream:
        bench = Bench()
        async with open_site(folder, upstream.base_url, plugins=[("bench", bench)]) as site:
            made = Set()
            made.site, made.upstream, made.bench = site, upstream, bench
            made.ada = await site.sign_up("ada@example.org")
            yield made


async def ask(house: Set, *calls: ToolAsk) -> dict[str, Any]:
    house.upstream.tool_rounds["fake-n5"] = [list(calls)]
    chat = (await house.ada.post("/api/conversations", json={})).json()
    body = {"parent_id": None, "text": "Go on.", "model": "fake-n5"}
    sent = (await house.ada.post(f"/api/conversations/{chat['id']}/messages", json=body)).json()
    return {**sent, "conversation_id": chat["id"]}


async def ended(house: Set, turn_id: str) -> dict[str, Any]:
    deadline = monotonic_s() + 10
    while (turn := (await house.ada.get(f"/api/turns/{turn_id}")).json())["state"] == "running":
        assert monotonic_s() < deadline
        await asyncio.sleep(0.01)
    return dict(turn)


async def page_with(house: Set, sent: dict[str, Any], text: str) -> str:
    """The chat's page, as soon as it holds a text."""
    deadline = monotonic_s() + 10
    while text not in (page := (await house.ada.get(f"/c/{sent['conversation_id']}")).text):
        assert monotonic_s() < deadline, f"no {text!r}"
        await asyncio.sleep(0.01)
    return page


async def test_a_call_is_a_block_with_what_was_asked_and_given(house: Set) -> None:
    sent = await ask(house, ToolAsk("garden__look", json.dumps({"at": EVIL})))
    await ended(house, sent["turn_id"])
    page = await page_with(house, sent, "result of")
    assert '<details class="tool" data-state="done">' in page
    assert "garden · look" in page
    assert "<script>alert" not in page
    assert "&lt;/pre&gt;&lt;/details&gt;&lt;script&gt;alert(1)&lt;/script&gt;" in page
    messages = (await house.ada.get(f"/api/conversations/{sent['conversation_id']}/messages")).json()["messages"]
    kinds = [part["type"] for part in messages[1]["parts"]]
    assert kinds == ["text", "tool_call", "tool_result", "text"]


async def test_the_events_of_a_turn_tell_calls_and_results(house: Set) -> None:
    sent = await ask(house, ToolAsk("garden__look"))
    await ended(house, sent["turn_id"])
    stream = (await house.ada.get(f"/api/turns/{sent['turn_id']}/events?after=0")).text
    events = [line.removeprefix("event: ") for line in stream.splitlines() if line.startswith("event: ")]
    assert events == ["text", "tool_call", "tool_result", "text", "end"]
    data = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: ")]
    assert data[1] == {"call_id": "call_1", "name": "garden__look", "arguments": "{}"}
    assert data[2]["call_id"] == "call_1"
    assert data[2]["is_error"] is False


@pytest.mark.parametrize("by_page", [True, False])
async def test_a_tool_that_acts_asks_on_the_page_and_over_the_api(house: Set, by_page: bool) -> None:
    before = house.bench.write.calls
    sent = await ask(house, ToolAsk("write"))
    page = await page_with(house, sent, "Allow once")
    assert "Always in this chat" in page
    assert "Decline" in page
    assert 'data-state="asks" open' in page
    where = f"/t/{sent['turn_id']}/tools/call_1"
    house.bench.write.free.clear()
    if by_page:
        assert (await house.ada.post(f"{where}?answer=perhaps")).status_code == 422
        answer = await house.ada.post(f"{where}?answer=once")
        assert answer.status_code == 303
        assert answer.headers["location"].startswith(f"/c/{sent['conversation_id']}/")
    else:
        answer = await house.ada.post(f"/api/turns/{sent['turn_id']}/tools/call_1", json={"answer": "once"})
        assert answer.json() == {"answer": "once"}
    page = await page_with(house, sent, "Running…")
    assert "Allow once" not in page, "it asks no more, although it runs"
    house.bench.write.free.set()
    assert (await ended(house, sent["turn_id"]))["state"] == "done"
    assert house.bench.write.calls == before + 1


async def test_declined_is_shown_and_the_model_goes_on(house: Set) -> None:
    before = house.bench.write.calls
    sent = await ask(house, ToolAsk("write"))
    await page_with(house, sent, "Allow once")
    await house.ada.post(f"/t/{sent['turn_id']}/tools/call_1?answer=declined")
    assert (await ended(house, sent["turn_id"]))["state"] == "done"
    assert "The person declined this call." in await page_with(house, sent, "Did not work")
    assert house.bench.write.calls == before
    late = await house.ada.post(f"/api/turns/{sent['turn_id']}/tools/call_1", json={"answer": "once"})
    assert late.json() == {"answer": "declined"}, "what was said first counts"


async def test_exports_and_shares_show_tools_where_they_show_thoughts(house: Set) -> None:
    sent = await ask(house, ToolAsk("garden__look", '{"at": "oak"}'))
    await ended(house, sent["turn_id"])
    for kind in ("md", "html", "json"):
        where = f"/api/conversations/{sent['conversation_id']}/export?format={kind}"
        plain = (await house.ada.get(where)).text
        whole = (await house.ada.get(f"{where}&reasoning=1")).text
        assert ("result of garden__look" in plain) == (kind == "json")
        assert "result of garden__look" in whole
        assert "oak" in whole
        assert kind != "html" or "<script>alert" not in whole
    for thoughts in (False, True):
        where = f"/api/conversations/{sent['conversation_id']}/shares"
        share = (await house.ada.post(where, json={"tip": sent["reply_id"], "reasoning": thoughts})).json()
        shown = (await house.ada.get(share["url"], follow_redirects=True)).text
        assert ("result of garden__look" in shown) == thoughts
        assert "<script>alert" not in shown
