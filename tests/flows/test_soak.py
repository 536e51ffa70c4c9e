"""A server that has been used for long weighs what it weighed after its first minute."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from chatserver.testing.upstream import FakeUpstream
from tests.flows.test_crowds import Crowd
from tests.flows.test_faults import Reader, start_chat
from tests.running import RunningServer

SECRET = "0123456789abcdef0123456789abcdef"
MODEL = "fake-n60-gap5"
SAMPLE_S = 5.0


@pytest.fixture
async def crowd(tmp_path: Path, fake_upstream: FakeUpstream, database_url: str) -> AsyncIterator[Crowd]:
    given = {"CHATSERVER_DATABASE_URL": database_url, "CHATSERVER_SECRET_KEY": SECRET} if database_url else {}
    server = RunningServer(tmp_path, fake_upstream.base_url, models=[MODEL], environment=given)
    await asyncio.to_thread(server.start)
    made = Crowd(server, await asyncio.to_thread(server.account, "ann@example.org"))
    yield made
    await asyncio.to_thread(server.kill)


class Soak:
    """People who chat, look, search and delete, again and again; every answer must be whole."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._url = crowd.url
        self._numbers = itertools.count()
        self.rounds = 0
        self.is_over = False

    async def live(self, session: aiohttp.ClientSession) -> None:
        while not self.is_over:
            await self.round(session)

    async def round(self, session: aiohttp.ClientSession) -> None:
        word = f"word{next(self._numbers)}"
        sent = await start_chat(session, self._url, MODEL, f"What is a {word}?")
        reader = Reader(sent["turn_id"])
        await reader.read(session, self._url)
        assert reader.end is not None and reader.end["state"] == "done"
        chat = sent["conversation_id"]
        for path in (
            f"/c/{chat}",
            f"/api/conversations/{chat}/messages",
            f"/api/search?q={word}",
            "/api/conversations",
        ):
            async with session.get(self._url + path) as answer:
                assert answer.status == 200, (path, answer.status)
                await answer.read()
        async with session.delete(f"{self._url}/api/conversations/{chat}") as answer:
            assert answer.status < 300, answer.status
        self.rounds += 1


async def soak(crowd: Crowd, *, people: int, warm_rounds: int, seconds: float, most_mb: float) -> None:
    life = Soak(crowd)
    async with crowd.session() as session:
        living = [asyncio.create_task(life.live(session)) for _ in range(people)]
        try:
            while life.rounds < warm_rounds:
                done, _ = await asyncio.wait(living, timeout=0.2)
                assert not done, done
            began, first = time.monotonic(), life.rounds
            samples_kb: list[int] = []
            while time.monotonic() - began < seconds:
                samples_kb.append(crowd.memory_kb())
                done, _ = await asyncio.wait(living, timeout=min(SAMPLE_S, seconds / 10))
                assert not done, done
        finally:
            life.is_over = True
            await asyncio.gather(*living)
    third = max(1, len(samples_kb) // 3)
    grown_mb = (statistics.median(samples_kb[-third:]) - statistics.median(samples_kb[:third])) / 1024
    rounds = life.rounds - first
    print(f"{rounds} rounds in {seconds:.0f} s: {samples_kb[0] / 1024:.0f} MB, grown by {grown_mb:.1f} MB")
    assert grown_mb < most_mb
    assert "all is well" in await asyncio.to_thread(crowd.server.run, "doctor")


@pytest.mark.timeout(120)
async def test_a_little_use_leaves_no_weight(crowd: Crowd) -> None:
    await soak(crowd, people=8, warm_rounds=60, seconds=6, most_mb=10)


@pytest.mark.torture
@pytest.mark.timeout(900)
async def test_five_minutes_of_use_leave_no_weight(crowd: Crowd) -> None:
    await soak(crowd, people=30, warm_rounds=4_000, seconds=300, most_mb=5)  # SQLite's caches are full by then
