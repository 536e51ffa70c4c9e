"""A database of many nodes is backed up while they work, and comes back on PostgreSQL as well as on one box."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from chatserver.testing.postgres import PostgresServer
from chatserver.testing.upstream import FakeUpstream
from tests.engines import postgres_with_schema
from tests.flows.test_database_away import Sender, progress
from tests.flows.test_nodes import SECRET, SHORT, get
from tests.running import RunningServer


@pytest.fixture
def servers(tmp_path: Path, fake_upstream: FakeUpstream) -> Iterator[dict[str, RunningServer]]:
    """By name, made when asked for in `house`."""
    made: dict[str, RunningServer] = {}
    yield made
    for server in made.values():
        server.kill()


def house(servers: dict[str, RunningServer], folder: Path, upstream: FakeUpstream, url: str) -> RunningServer:
    environment = {"CHATSERVER_SECRET_KEY": SECRET, **({"CHATSERVER_DATABASE_URL": url} if url else {})}
    servers[folder.name] = RunningServer(folder, upstream.base_url, models=[SHORT], environment=environment)
    return servers[folder.name]


def says(server: RunningServer, *words: str) -> str:
    """What a command that fails says, in one sentence."""
    done = subprocess.run(server.command(*words), env=server.environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


async def holds_all(server: RunningServer, key: str, senders: list[Sender], known: list[set[str]]) -> None:
    """Every question that was acknowledged before the backup began is there, with its answer."""
    headers = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        for sender, acknowledged in zip(senders, known, strict=True):
            tree = (await get(session, f"{server.url}/api/conversations/{sender.chat}/messages?tree=1"))["messages"]
            assert acknowledged <= {message["id"] for message in tree if message["role"] == "user"}
            answered = {message["parent_id"] for message in tree if message["role"] == "assistant"}
            assert answered == {message["id"] for message in tree if message["role"] == "user"}, "a torn moment"
        found = await get(session, f"{server.url}/api/search?q=s3")
        assert found["hits"], "it cannot be searched"


@pytest.mark.timeout(240)
async def test_a_backup_made_under_load_comes_back_on_either_engine(
    tmp_path: Path, postgres_server: PostgresServer, fake_upstream: FakeUpstream, servers: dict[str, RunningServer]
) -> None:
    file = tmp_path / "house.backup"
    async with postgres_with_schema(postgres_server) as url:
        here = house(servers, tmp_path / "here", fake_upstream, url)
        await asyncio.to_thread(here.start)
        key = await asyncio.to_thread(here.account, "ann@example.org")
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session:
            senders = [Sender(f"s{number}") for number in range(6)]
            sending = [asyncio.create_task(sender.send_all(session, here.url)) for sender in senders]
            await progress(senders, 4, sending)
            known = [{sent["question_id"] for sent in sender.acknowledged.values()} for sender in senders]
            assert "rows of" in await asyncio.to_thread(here.run, "backup", str(file))
            await progress(senders, 1, sending)
            for sender in senders:
                sender.is_over = True
            await asyncio.gather(*sending)
        assert "is sound: " in await asyncio.to_thread(here.run, "verify", str(file))
        assert "is not empty" in await asyncio.to_thread(says, here, "restore", str(file))
        assert await asyncio.to_thread(here.stop) == 0

    name = postgres_server.create()
    try:
        there = house(servers, tmp_path / "there", fake_upstream, postgres_server.url(name))
        assert "is now what" in await asyncio.to_thread(there.run, "restore", str(file))
        await asyncio.to_thread(there.start)
        await holds_all(there, key, senders, known)
        assert "all is well" in await asyncio.to_thread(there.run, "doctor")
        assert await asyncio.to_thread(there.stop) == 0
    finally:
        postgres_server.drop(name)

    box = house(servers, tmp_path / "box", fake_upstream, "")
    assert "is now what" in await asyncio.to_thread(box.run, "restore", str(file))
    await asyncio.to_thread(box.start)
    await holds_all(box, key, senders, known)
    assert "all is well" in await asyncio.to_thread(box.run, "doctor")
