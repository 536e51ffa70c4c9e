"""Two server processes that wake each other over Redis, and whatever may befall Redis: nobody loses anything by it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from chatserver.testing.postgres import PostgresServer
from chatserver.testing.redis import RedisServer
from chatserver.testing.upstream import FakeUpstream
from tests.engines import postgres_with_schema
from tests.flows.test_nodes import LONG, SECRET, SHORT, Follower, Witness, ask, get, start_all, text_of_reply
from tests.running import RunningServer

MOST_S = 2.0
"""How far a reader on another node may be behind, whatever happens to Redis."""
SLOW = "fake-n100-gap100"
Pair = tuple[RunningServer, RunningServer]


@pytest.fixture
async def pair(
    tmp_path: Path, postgres_server: PostgresServer, redis_server: RedisServer, fake_upstream: FakeUpstream
) -> AsyncIterator[Pair]:
    """Not started."""
    async with postgres_with_schema(postgres_server) as url:
        environment = {
            "CHATSERVER_DATABASE_URL": url,
            "CHATSERVER_SECRET_KEY": SECRET,
            "CHATSERVER_REDIS_URL": redis_server.url,
        }
        made = [
            RunningServer(tmp_path / name, fake_upstream.base_url, models=[LONG, SLOW, SHORT], environment=environment)
            for name in ("one", "other")
        ]
        yield made[0], made[1]
        for server in made:
            server.kill()


async def follow(session: aiohttp.ClientSession, url: str, turn_id: str, witness: Witness) -> None:
    """What another reader of the same turn sees, and when."""
    async with session.get(f"{url}/api/turns/{turn_id}/events?after=0") as stream:
        event = ""
        async for line in stream.content:
            if line.startswith(b"event: "):
                event = line[7:].strip().decode()
            elif line.startswith(b"data: ") and event == "text":
                witness.pieces.append((time.monotonic(), json.loads(line[6:])["text"]))


def lags_of(near: Witness, far: Witness, since: float) -> list[float]:
    """How much later the far reader had what the near one saw after a moment; what he still lacks counts as now."""
    lags = []
    far_pieces = growth(far)
    at, length = 0.0, 0
    for seen_at, seen in growth(near):
        while length < seen:
            at, length = next(far_pieces, (time.monotonic(), seen))
        if seen_at >= since:
            lags.append(max(0.0, at - seen_at))
    return lags


def growth(witness: Witness) -> Iterator[tuple[float, int]]:
    length = 0
    for at, text in witness.pieces:
        length += len(text)
        yield at, length


@pytest.mark.timeout(120)
async def test_redis_killed_paused_or_flushed_costs_a_moment_and_nothing_else(
    pair: Pair, redis_server: RedisServer
) -> None:
    here, there = pair
    redis_server.kill()
    await start_all(here, there)
    key = await asyncio.to_thread(here.account, "ann@example.org")
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session:
        near = Witness()
        watching = [asyncio.create_task(near.watch(session, here.url))]
        while not near.pieces:
            await asyncio.wait(watching, timeout=0.05)
        far = Witness()
        watching.append(asyncio.create_task(follow(session, there.url, near.sent["turn_id"], far)))

        async def pass_by(what: str, seconds: float) -> None:
            began = time.monotonic()
            while time.monotonic() - began < seconds:
                await ask(session, there.url)  # every send is acknowledged, and served by either
                done, _ = await asyncio.wait(watching, timeout=0.1)
                assert not done
            lags = sorted(lags_of(near, far, began))
            assert lags, what
            print(f"{what}: {len(lags)} pieces, median {lags[len(lags) // 2]:.2f} s, most {lags[-1]:.2f} s behind")
            assert lags[len(lags) * 95 // 100] < 3 * MOST_S, what  # for a machine that is busy with other things

        await pass_by("away from the start", 3)
        assert "is away" in here.log.read_text()
        await asyncio.to_thread(redis_server.start)
        await pass_by("started", 3)
        redis_server.kill()
        await pass_by("killed", 3)
        await asyncio.to_thread(redis_server.start)
        await pass_by("back", 3)
        redis_server.pause()
        await pass_by("paused", 4)
        redis_server.go_on()
        assert await asyncio.to_thread(redis_server.ask, "FLUSHALL") == "+OK"
        await pass_by("flushed", 3)
        assert "is back" in there.log.read_text()
        async with session.post(f"{there.url}/api/turns/{near.sent['turn_id']}/stop") as answer:
            assert answer.status < 300
        async with asyncio.timeout(10):
            await asyncio.gather(*watching)
        turn = await get(session, f"{there.url}/api/turns/{near.sent['turn_id']}")
        assert turn["state"] == "stopped"
        text = await text_of_reply(session, there.url, near.sent)
        assert text == near.seen_before(time.monotonic()) == far.seen_before(time.monotonic())
    assert "all is well" in await asyncio.to_thread(there.run, "doctor")


class SlowFollower(Follower):
    """Asks for answers that take ten seconds, as people's do."""

    async def _ask(self, session: aiohttp.ClientSession) -> dict[str, str]:
        chat = (await self._post(session, "/api/conversations", {"title": self.name}, ""))["id"]
        asked = {"parent_id": None, "text": "go", "model": SLOW}
        sent = await self._post(session, f"/api/conversations/{chat}/messages", asked, f"{self.name} {len(self.sent)}")
        self.sent.append({**sent, "chat": chat})
        return self.sent[-1]


@pytest.mark.torture
@pytest.mark.timeout(600)
async def test_two_nodes_restart_one_after_the_other_under_200_streams(pair: Pair) -> None:
    await start_all(*pair)
    key = await asyncio.to_thread(pair[0].account, "ann@example.org")
    async with aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {key}"},
        timeout=aiohttp.ClientTimeout(90),
        connector=aiohttp.TCPConnector(limit=0),
    ) as session:
        followers = [SlowFollower([server.url for server in pair], number) for number in range(200)]
        living = [asyncio.create_task(follower.live_on(session)) for follower in followers]

        async def go_on() -> None:
            """Until everybody has one more answer."""
            wanted = [len(follower.texts) + 1 for follower in followers]
            async with asyncio.timeout(120):
                while any(len(one.texts) < count for one, count in zip(followers, wanted, strict=True)):
                    done, _ = await asyncio.wait(living, timeout=0.1)
                    for task in done:
                        task.result()

        await go_on()
        for server in pair:
            assert await asyncio.to_thread(server.stop) == 0
            await asyncio.to_thread(server.start)
            await go_on()
        for follower in followers:
            follower.is_over = True
        await asyncio.gather(*living)
        gaps_s = sorted(gap for follower in followers for gap in follower.gaps_s)
        print(f"{len(gaps_s)} streams went on elsewhere, the slowest after {gaps_s[-1]:.2f} s")
        assert gaps_s[-1] < MOST_S
        assert set().union(*(follower.statuses for follower in followers)) <= {201, 202, 503}
        for follower in followers:
            for sent in follower.sent:
                turn = await get(session, f"{pair[0].url}/api/turns/{sent['turn_id']}")
                assert turn["state"] == "done"
                assert await text_of_reply(session, pair[1].url, sent) == follower.texts[sent["turn_id"]]
    assert "all is well" in await asyncio.to_thread(pair[0].run, "doctor")
