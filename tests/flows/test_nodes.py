"""Several server processes on one PostgreSQL, and what may befall them: killed, frozen and woken, the database gone."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from chatserver.domain.turns import FOREIGN_END_OFFSET
from chatserver.testing.postgres import PostgresServer
from chatserver.testing.upstream import FakeUpstream
from tests.engines import postgres_with_schema
from tests.running import RunningServer

SECRET = "0123456789abcdef0123456789abcdef"
LONG = "fake-n6000-gap10"
MIDDLE = "fake-n60-gap25"
SHORT = "fake-n5"
Node = Callable[..., RunningServer]


@pytest.fixture
async def place(postgres_server: PostgresServer) -> AsyncIterator[str]:
    async with postgres_with_schema(postgres_server) as url:
        yield url


@pytest.fixture
def node(tmp_path: Path, fake_upstream: FakeUpstream) -> Iterator[Node]:
    """`node(name, database_url, *options)`: a server on the database, not started."""
    made: list[RunningServer] = []

    def make(name: str, url: str, *options: str) -> RunningServer:
        environment = {"CHATSERVER_DATABASE_URL": url, "CHATSERVER_SECRET_KEY": SECRET}
        models = [LONG, MIDDLE, SHORT]
        server = RunningServer(
            tmp_path / name, fake_upstream.base_url, models=models, environment=environment, options=options
        )
        made.append(server)
        return server

    yield make
    for server in made:
        if server.process is not None and server.process.poll() is None:
            server.process.send_signal(signal.SIGCONT)
            server.kill()


async def start_all(*servers: RunningServer) -> None:
    first, *others = servers
    await asyncio.to_thread(first.start)
    await asyncio.gather(*(asyncio.to_thread(server.start) for server in others))


class Witness:
    """Asks one question and notes what it sees of the answer, and when."""

    def __init__(self) -> None:
        self.sent: dict[str, str] = {}
        self.pieces: list[tuple[float, str]] = []

    async def watch(self, session: aiohttp.ClientSession, url: str, model: str = LONG) -> None:
        self.sent = await ask(session, url, model)
        try:
            async with session.get(f"{url}/api/turns/{self.sent['turn_id']}/events?after=0") as stream:
                event = ""
                async for line in stream.content:
                    if line.startswith(b"event: "):
                        event = line[7:].strip().decode()
                    elif line.startswith(b"data: ") and event == "text":
                        self.pieces.append((time.monotonic(), json.loads(line[6:])["text"]))
        except (aiohttp.ClientError, ConnectionError):
            return

    def seen_before(self, moment: float) -> str:
        return "".join(text for at, text in self.pieces if at <= moment)


async def ask(session: aiohttp.ClientSession, url: str, model: str = SHORT) -> dict[str, str]:
    async with session.post(f"{url}/api/conversations", json={"title": "t"}) as answer:
        chat = (await answer.json())["id"]
    asked = {"parent_id": None, "text": "go", "model": model}
    async with session.post(f"{url}/api/conversations/{chat}/messages", json=asked) as answer:
        assert answer.status == 202, await answer.text()
        sent: dict[str, str] = {**await answer.json(), "chat": chat}
        return sent


async def get(session: aiohttp.ClientSession, address: str) -> Any:
    async with session.get(address) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def text_of_reply(session: aiohttp.ClientSession, url: str, sent: dict[str, str]) -> str:
    messages = (await get(session, f"{url}/api/conversations/{sent['chat']}/messages"))["messages"]
    (reply,) = [message for message in messages if message["id"] == sent["reply_id"]]
    return "".join(part["text"] for part in reply["parts"] if part["type"] == "text")


@pytest.mark.timeout(180)
async def test_a_killed_nodes_turns_are_interrupted_elsewhere_and_a_stopped_ones_writes_are_refused(
    place: str, node: Node
) -> None:
    killed, frozen, left = node("killed", place), node("frozen", place), node("left", place)
    await start_all(killed, frozen, left)
    key = await asyncio.to_thread(killed.account, "ann@example.org")
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session:
        of_killed, of_frozen = [Witness() for _ in range(3)], [Witness() for _ in range(3)]
        watching = [asyncio.create_task(one.watch(session, killed.url)) for one in of_killed]
        watching += [asyncio.create_task(one.watch(session, frozen.url)) for one in of_frozen]
        while not all(len(one.pieces) > 100 for one in (*of_killed, *of_frozen)):
            await asyncio.wait(watching, timeout=0.05)
        assert frozen.process is not None
        frozen.process.send_signal(signal.SIGSTOP)
        cut_at = time.monotonic()
        killed.kill()
        states: dict[str, Any] = {}
        while len(states) < 6:
            assert time.monotonic() - cut_at < 30
            for one in (*of_killed, *of_frozen):
                turn = await get(session, f"{left.url}/api/turns/{one.sent['turn_id']}")
                if turn["state"] != "running":
                    states[turn["id"]] = turn
            await asyncio.wait(watching, timeout=0.2)
        print(f"interrupted after {time.monotonic() - cut_at:.1f} s")
        texts = {}
        for one in (*of_killed, *of_frozen):
            turn = states[one.sent["turn_id"]]
            assert (turn["state"], turn["error"]["code"]) == ("interrupted", "interrupted")
            assert turn["last_seq"] > FOREIGN_END_OFFSET
            text = texts[turn["id"]] = await text_of_reply(session, left.url, one.sent)
            assert text.startswith(one.seen_before(cut_at - 1.0)), "more than a second of text was lost"
        frozen.process.send_signal(signal.SIGCONT)
        woken_at = time.monotonic()
        async with asyncio.timeout(20):
            await asyncio.gather(*watching)  # the zombie's own readers are sent to what is stored
            while frozen.log.read_text().count("turn_lost") < 3:
                await get(session, f"{frozen.url}/api/account")
        print(f"the zombie gave up {time.monotonic() - woken_at:.1f} s after it woke")
        for one in of_frozen:
            turn = await get(session, f"{frozen.url}/api/turns/{one.sent['turn_id']}")
            assert turn == states[turn["id"]]
            assert await text_of_reply(session, frozen.url, one.sent) == texts[turn["id"]]
        assert (await ask(session, frozen.url))["turn_id"]
    assert "all is well" in await asyncio.to_thread(left.run, "doctor")


async def figures(url: str) -> str:
    """/metrics, over a connection of its own, which any of the workers may take."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as answer:
        return await answer.text()


@pytest.mark.timeout(120)
async def test_workers_share_a_socket_and_a_dead_one_is_replaced(place: str, node: Node) -> None:
    server = node("workers", place, "--workers", "2")
    await start_all(server)
    assert server.process is not None
    key = await asyncio.to_thread(server.account, "ann@example.org")
    first = children_of(server.process.pid)
    assert len(first) == 2
    os.kill(first[0], signal.SIGKILL)
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session:
        async with asyncio.timeout(20):
            while len(now := children_of(server.process.pid)) < 2 or first[0] in now:
                await get(session, f"{server.url}/api/account")
        for _ in range(6):
            await ask(session, server.url)
        async with asyncio.timeout(20):
            while (told := await figures(server.url)).count("chatserver_draining{") < 2:
                await asyncio.sleep(0.05)
    started = re.findall(r'^chatserver_turns_started_total{origin="api",worker="[01]"} (\d+)$', told, re.MULTILINE)
    assert sum(map(int, started)) == 6, "whichever process is asked answers for both"
    assert len(server.log.read_text().split("/setup/")) == 2, "the link is printed by one of them, once"
    assert await asyncio.to_thread(server.stop, sign=signal.SIGHUP) == 0, "whose terminal closes is as polite"
    assert not any(is_alive(pid) for pid in now)


@pytest.mark.timeout(60)
def test_the_url_is_all_one_sets_and_another_key_is_noticed(place: str, node: Node) -> None:
    server = node("alone", place)
    del server.environment["CHATSERVER_SECRET_KEY"]
    server.start()
    assert server.account("ann@example.org").startswith("cs_")
    assert server.stop() == 0
    server.start()
    assert server.stop() == 0
    assert "is not the one" not in server.log.read_text()
    server.environment["CHATSERVER_SECRET_KEY"] = SECRET
    server.start()
    assert server.stop() == 0
    assert "CHATSERVER_SECRET_KEY) is not the one" in server.log.read_text()


@pytest.mark.timeout(60)
def test_workers_that_cannot_start_say_so_once_and_end(tmp_path: Path, node: Node) -> None:
    server = node("nowhere", f"postgresql://nobody@/none?host={tmp_path}", "--workers", "2")
    with pytest.raises(AssertionError, match="does not let us in to none"):
        server.start(timeout_s=30)
    assert server.process is not None
    assert server.process.wait(20) == 1


def children_of(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


class Follower:
    """A client of two nodes: asks on either, follows on either, and comes back where it left off."""

    def __init__(self, urls: list[str], number: int) -> None:
        self.urls = urls
        self.at = number % len(urls)
        self.name = f"f{number}"
        self.sent: list[dict[str, str]] = []
        self.texts: dict[str, str] = {}
        self.gaps_s: list[float] = []
        self.statuses: set[int] = set()
        self.is_over = False

    async def live_on(self, session: aiohttp.ClientSession) -> None:
        while not self.is_over:
            await self._follow(session, await self._ask(session))

    async def _ask(self, session: aiohttp.ClientSession) -> dict[str, str]:
        chat = (await self._post(session, "/api/conversations", {"title": self.name}, ""))["id"]
        asked = {"parent_id": None, "text": "go", "model": MIDDLE}
        sent = await self._post(session, f"/api/conversations/{chat}/messages", asked, f"{self.name} {len(self.sent)}")
        self.sent.append({**sent, "chat": chat})
        return self.sent[-1]

    async def _post(self, session: aiohttp.ClientSession, path: str, body: dict[str, Any], key: str) -> Any:
        headers = {"Idempotency-Key": key} if key else {}
        while True:
            try:
                async with session.post(self.urls[self.at] + path, json=body, headers=headers) as answer:
                    self.statuses.add(answer.status)
                    if answer.status < 300:
                        return await answer.json()
                    assert answer.status == 503 and answer.headers["Retry-After"], await answer.text()
            except (aiohttp.ClientConnectionError, ConnectionError):
                pass
            self.at = (self.at + 1) % len(self.urls)
            await asyncio.sleep(0.05)

    async def _follow(self, session: aiohttp.ClientSession, sent: dict[str, str]) -> None:
        """To the end, each number once and in order. Notes how long the way to the next word took after a parting."""
        last, text, left_at = 0, "", 0.0
        while True:
            try:
                address = f"{self.urls[self.at]}/api/turns/{sent['turn_id']}/events?after={last}"
                async with session.get(address) as stream:
                    if stream.status == 204:
                        break
                    event = ""
                    async for raw in stream.content:
                        line = raw.decode().rstrip("\n")
                        if line.startswith("event: "):
                            event = line[7:]
                        elif line.startswith("id: "):
                            number = int(line[4:])
                            assert number > last
                            last = number
                        elif line.startswith("data: ") and stream.status == 200:
                            if left_at and event != "reconnect":
                                self.gaps_s.append(time.monotonic() - left_at)
                                left_at = 0.0
                            if event == "text":
                                text += json.loads(line[6:])["text"]
                            elif event == "reset":
                                text = json.loads(line[6:])["text"]
                            elif event == "end":
                                self.texts[sent["turn_id"]] = text
                                return
            except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, ConnectionError):
                pass
            left_at = left_at or time.monotonic()
            self.at = (self.at + 1) % len(self.urls)


@pytest.mark.timeout(180)
async def test_two_nodes_restart_one_after_the_other_and_nobody_notices(place: str, node: Node) -> None:
    one, other = node("one", place), node("other", place)
    await start_all(one, other)
    key = await asyncio.to_thread(one.account, "ann@example.org")
    headers = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(40)) as session:
        followers = [Follower([one.url, other.url], number) for number in range(12)]
        living = [asyncio.create_task(follower.live_on(session)) for follower in followers]

        async def go_on() -> None:
            wanted = [len(follower.texts) + 1 for follower in followers]
            async with asyncio.timeout(40):
                while any(len(one.texts) < count for one, count in zip(followers, wanted, strict=True)):
                    done, _ = await asyncio.wait(living, timeout=0.05)
                    for task in done:
                        task.result()

        await go_on()
        for server in (one, other):
            assert await asyncio.to_thread(server.stop) == 0
            await asyncio.to_thread(server.start)
            await go_on()
        for follower in followers:
            follower.is_over = True
        await asyncio.gather(*living)
        gaps_s = sorted(gap for follower in followers for gap in follower.gaps_s)
        print(f"{len(gaps_s)} streams went on elsewhere, the slowest after {gaps_s[-1]:.2f} s")
        assert gaps_s[-1] < 10  # two seconds in make torture, which has the machine for itself
        assert set().union(*(follower.statuses for follower in followers)) <= {201, 202, 503}
        for follower in followers:
            for sent in follower.sent:
                turn = await get(session, f"{one.url}/api/turns/{sent['turn_id']}")
                assert turn["state"] == "done"
                assert await text_of_reply(session, other.url, sent) == follower.texts[sent["turn_id"]]
    assert "all is well" in await asyncio.to_thread(one.run, "doctor")
