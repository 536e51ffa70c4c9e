"""kill -9 in the middle of answers: what was acknowledged is there, what was seen is there but the last second."""

from __future__ import annotations

import asyncio
import json
import random
import time
from pathlib import Path

import aiohttp
import pytest

from chatserver.domain.turns import FOREIGN_END_OFFSET
from chatserver.testing.upstream import FakeUpstream
from tests.running import RunningServer

MODEL = "fake-n400-gap10"
SECRET = "0123456789abcdef0123456789abcdef"


class Witness:
    """What one client saw: the ids that were acknowledged, and each piece of text with its time."""

    def __init__(self) -> None:
        self.sent: dict[str, str] | None = None
        self.pieces: list[tuple[float, str]] = []

    def seen_before(self, moment: float) -> str:
        return "".join(text for at, text in self.pieces if at <= moment)


async def chat(session: aiohttp.ClientSession, url: str, conversation: str, text: str, witness: Witness) -> None:
    try:
        asked = {"parent_id": None, "text": text, "model": MODEL}
        async with session.post(f"{url}/api/conversations/{conversation}/messages", json=asked) as answer:
            assert answer.status == 202, await answer.text()
            witness.sent = await answer.json()
        async with session.get(f"{url}/api/turns/{witness.sent['turn_id']}/events?after=0") as stream:
            event = ""
            async for line in stream.content:
                if line.startswith(b"event: "):
                    event = line[7:].strip().decode()
                elif line.startswith(b"data: ") and event == "text":
                    witness.pieces.append((time.monotonic(), json.loads(line[6:])["text"]))
    except (aiohttp.ClientError, ConnectionError):
        return


@pytest.mark.timeout(240)
async def test_twenty_streams_killed_five_times_lose_nothing_acknowledged(
    tmp_path: Path, fake_upstream: FakeUpstream, database_url: str
) -> None:
    # Where nothing but a lease tells that the old server is dead, each round takes the fifteen seconds of one.
    await kill_in_rounds(tmp_path, fake_upstream, database_url, streams=20, rounds=1 if database_url else 5)


@pytest.mark.torture
@pytest.mark.timeout(1800)
async def test_two_hundred_streams_killed_twenty_times_lose_nothing_acknowledged(
    tmp_path: Path, fake_upstream: FakeUpstream, database_url: str
) -> None:
    await kill_in_rounds(tmp_path, fake_upstream, database_url, streams=200, rounds=20)


async def kill_in_rounds(
    tmp_path: Path, fake_upstream: FakeUpstream, database_url: str, *, streams: int, rounds: int
) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    environment = {"CHATSERVER_DATABASE_URL": database_url, "CHATSERVER_SECRET_KEY": SECRET} if database_url else {}
    server = RunningServer(tmp_path, fake_upstream.base_url, models=[MODEL], environment=environment)
    await asyncio.to_thread(server.start)
    key = await asyncio.to_thread(server.account, "ann@example.org")
    headers = {"Authorization": f"Bearer {key}"}
    try:
        acknowledged, swept_s = 0, 0.0
        for turn in range(rounds):
            witnesses = [Witness() for _ in range(streams)]
            async with crowd(headers) as session:
                made = []
                for n in range(streams):
                    async with session.post(f"{server.url}/api/conversations", json={"title": f"{turn} {n}"}) as answer:
                        made.append((await answer.json())["id"])
                running = [
                    asyncio.create_task(chat(session, server.url, made[n], f"question {turn} {n}", witnesses[n]))
                    for n in range(streams)
                ]
                await asyncio.wait(running, timeout=chance.uniform(0.05, 3.0))
                killed_at = time.monotonic()
                await asyncio.to_thread(server.kill)
                await asyncio.gather(*running)
            await asyncio.to_thread(server.start)
            up_at = time.monotonic()
            kept = [witness for witness in witnesses if witness.sent is not None]
            async with crowd(headers) as session:
                for witness in kept:
                    await ended(session, server.url, witness)
                swept_s = max(swept_s, time.monotonic() - up_at)
                for witness in kept:
                    await check(session, server.url, witness, killed_at)
            acknowledged += len(kept)
            assert swept_s < (30 if database_url else 5)
        print(f"{acknowledged} acknowledged, all kept; the last was swept {swept_s:.1f} s after a start")
        assert "all is well" in await asyncio.to_thread(server.run, "doctor")
    finally:
        await asyncio.to_thread(server.kill)


def crowd(headers: dict[str, str]) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=0))


async def ended(session: aiohttp.ClientSession, url: str, witness: Witness) -> None:
    """Until somebody found the turn left behind; the caller has a deadline for all of them."""
    assert witness.sent is not None
    address = f"{url}/api/turns/{witness.sent['turn_id']}"
    while True:
        async with session.get(address) as answer:
            if (await answer.json())["state"] != "running":
                return
        await asyncio.sleep(0.1)


async def check(session: aiohttp.ClientSession, url: str, witness: Witness, killed_at: float) -> None:
    assert witness.sent is not None
    async with session.get(f"{url}/api/conversations/{witness.sent['conversation_id']}/messages") as answer:
        messages = {message["id"]: message for message in (await answer.json())["messages"]}
    assert witness.sent["question_id"] in messages
    reply = messages[witness.sent["reply_id"]]
    assert reply["state"] == "interrupted"
    text = "".join(part["text"] for part in reply["parts"] if part["type"] == "text")
    assert text.startswith(witness.seen_before(killed_at - 1.0)), "more than a second of text was lost"
    whole = witness.seen_before(killed_at + 60)
    assert whole.startswith(text) or text.startswith(whole), "the text was reordered or doubled"
    async with session.get(f"{url}/api/turns/{witness.sent['turn_id']}") as answer:
        turn = await answer.json()
    assert turn["state"] == "interrupted"
    assert turn["last_seq"] > FOREIGN_END_OFFSET
