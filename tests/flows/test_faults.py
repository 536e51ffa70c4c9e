"""Cut readers, cut upstreams, crowds and leavers: every event once, no text lost, nothing that stays running."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from chatserver.chat.doctor import examine
from chatserver.testing.server import Site, open_site
from chatserver.testing.upstream import FakeUpstream
from tests.flows.cutter import Cutter

SPEAKERS = 10


async def start_chat(session: aiohttp.ClientSession, url: str, model: str, text: str = "go") -> dict[str, Any]:
    async with session.post(f"{url}/api/conversations", json={"title": "t"}) as answer:
        conversation = (await answer.json())["id"]
    asked = {"parent_id": None, "text": text, "model": model}
    async with session.post(f"{url}/api/conversations/{conversation}/messages", json=asked) as answer:
        assert answer.status == 202, await answer.text()
        sent: dict[str, Any] = await answer.json()
        return sent


class Reader:
    """Reads a turn through whatever breaks, from its cursor on."""

    def __init__(self, turn_id: str) -> None:
        self.turn_id = turn_id
        self.after = 0
        self.numbers: list[int] = []
        self.text = ""
        self.end: dict[str, Any] | None = None
        self.connections = 0

    async def read(self, session: aiohttp.ClientSession, url: str, host: str = "") -> None:
        headers = {"Host": host} if host else {}
        while self.end is None:
            self.connections += 1
            try:
                address = f"{url}/api/turns/{self.turn_id}/events?after={self.after}"
                async with session.get(address, headers=headers) as stream:
                    assert stream.status == 200, stream.status
                    await self._take(stream)
            except (aiohttp.ClientError, ConnectionError):
                continue

    async def _take(self, stream: aiohttp.ClientResponse) -> None:
        fields: dict[str, str] = {}
        async for raw in stream.content:
            line = raw.decode()
            if not line.endswith("\n"):
                return  # cut in the middle of a line: the event never arrived
            line = line.rstrip("\n")
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
                continue
            if "data" in fields and "id" in fields:
                number, data = int(fields["id"]), json.loads(fields["data"])
                assert number > self.after, "an event came twice"
                self.after = number
                self.numbers.append(number)
                if fields["event"] == "text":
                    self.text += data["text"]
                elif fields["event"] == "reset":
                    self.text = data["text"]
                elif fields["event"] == "end":
                    self.end = data
                    return
            fields = {}


async def text_of(session: aiohttp.ClientSession, url: str, sent: dict[str, Any]) -> str:
    async with session.get(f"{url}/api/conversations/{sent['conversation_id']}/messages") as answer:
        reply = (await answer.json())["messages"][-1]
    return "".join(part["text"] for part in reply["parts"] if part["type"] == "text")


@pytest.fixture
async def site(tmp_path: Path, fake_upstream: FakeUpstream, database_url: str) -> Any:
    models = ["fake-n5", "fake-n300-gap5", "fake-n2000-gap2", *[f"fake-n60-gap1-cut{n}" for n in range(1, 51)]]
    async with open_site(tmp_path, fake_upstream.base_url, models=models, database_url=database_url) as site:
        await site.sign_up("ann@example.org")
        yield site


async def session_of(site: Site) -> aiohttp.ClientSession:
    key = await site.make_key("ann@example.org")
    return aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {key}"}, connector=aiohttp.TCPConnector(limit=0, force_close=True)
    )


async def test_readers_who_are_cut_get_every_event_once_and_in_order(site: Site) -> None:
    await cut_readers(site, 100)


@pytest.mark.torture
@pytest.mark.timeout(900)
async def test_readers_who_are_cut_a_thousand_times_get_every_event_once_and_in_order(site: Site) -> None:
    await cut_readers(site, 1_000)


async def cut_readers(site: Site, cuts: int) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    async with await session_of(site) as session, Cutter(site.port, random.Random(seed), 6000) as cutter:
        while cutter.cuts < cuts:
            sents = [await start_chat(session, site.url, "fake-n2000-gap2") for _ in range(4)]
            readers = [Reader(sent["turn_id"]) for sent in sents for _ in range(3)]
            cut_url = f"http://127.0.0.1:{cutter.port}"
            await asyncio.gather(*(reader.read(session, cut_url, f"127.0.0.1:{site.port}") for reader in readers))
            for sent, group in zip(sents, (readers[n : n + 3] for n in range(0, len(readers), 3)), strict=True):
                stored = await text_of(session, site.url, sent)
                assert stored
                for reader in group:
                    assert reader.text == stored
                    assert reader.numbers == sorted(set(reader.numbers))
        print(f"{cutter.cuts} cuts")
    assert await examine(site.house.db) == []


async def test_an_upstream_cut_at_fifty_places_keeps_what_came(site: Site) -> None:
    async with await session_of(site) as session:

        async def one(position: int) -> None:
            sent = await start_chat(session, site.url, f"fake-n60-gap1-cut{position}")
            reader = Reader(sent["turn_id"])
            await reader.read(session, site.url)
            assert reader.end is not None
            assert reader.end["state"] == "interrupted"
            assert await text_of(session, site.url, sent) == reader.text
            assert len(reader.text.split()) == position

        for start in range(1, 51, SPEAKERS):
            await asyncio.gather(*(one(position) for position in range(start, start + SPEAKERS)))
    assert await examine(site.house.db) == []


async def test_a_hundred_new_chats_at_once_have_no_error(site: Site) -> None:
    async with await session_of(site) as session:

        async def one(number: int) -> str:
            sent = await start_chat(session, site.url, "fake-n5", f"number {number}")
            reader = Reader(sent["turn_id"])
            await reader.read(session, site.url)
            assert reader.end is not None
            return str(reader.end["state"])

        assert await asyncio.gather(*(one(number) for number in range(100))) == ["done"] * 100
    assert await examine(site.house.db) == []


async def test_a_reader_who_leaves_does_not_stop_the_turn(site: Site) -> None:
    async with await session_of(site) as session:
        sent = await start_chat(session, site.url, "fake-n300-gap5")
        async with session.get(f"{site.url}/api/turns/{sent['turn_id']}/events?after=0") as stream:
            await stream.content.readline()
        reader = Reader(sent["turn_id"])
        await reader.read(session, site.url)
        assert reader.end is not None
        assert reader.end["state"] == "done"
        assert reader.end["usage"]["output"] == 300


async def test_a_reader_who_takes_nothing_costs_the_others_nothing(site: Site) -> None:
    async with await session_of(site) as session:
        sent = await start_chat(session, site.url, "fake-n2000-gap2")
        stuck = []
        for _ in range(10):
            reader, writer = await asyncio.open_connection("127.0.0.1", site.port, limit=1024)
            key = session.headers["Authorization"]
            writer.write(
                f"GET /api/turns/{sent['turn_id']}/events?after=0 HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\n"
                f"Authorization: {key}\r\n\r\n".encode()
            )
            reader._transport.pause_reading()  # type: ignore[attr-defined]
            stuck.append(writer)
        lively = Reader(sent["turn_id"])
        await lively.read(session, site.url)
        assert lively.end is not None
        assert lively.end["state"] == "done"
        for writer in stuck:
            writer.transport.abort()


async def test_an_ended_turn_tells_a_caught_up_reader_to_stay_away(site: Site) -> None:
    async with await session_of(site) as session:
        sent = await start_chat(session, site.url, "fake-n5")
        reader = Reader(sent["turn_id"])
        await reader.read(session, site.url)
        async with session.get(f"{site.url}/api/turns/{sent['turn_id']}/events?after={reader.after}") as again:
            assert again.status == 204


async def test_a_reader_after_the_events_are_gone_gets_one_reset_and_the_end(site: Site) -> None:
    async with await session_of(site) as session:
        sent = await start_chat(session, site.url, "fake-n5")
        first = Reader(sent["turn_id"])
        await first.read(session, site.url)
        await site.house.db.write(lambda tx: tx.run("DELETE FROM turn_events"))
        late = Reader(sent["turn_id"])
        await late.read(session, site.url)
        assert late.text == first.text
        assert len(late.numbers) == 2
