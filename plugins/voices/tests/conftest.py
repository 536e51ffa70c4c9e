"""A site with the plugin, and a voice elsewhere that says what it was asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from chatserver.testing.server import Site, open_site
from chatserver.testing.upstream import FakeUpstream


class Elsewhere:
    """An /audio/speech over real HTTP. asked: the bodies and keys it saw. status: what it answers with."""

    def __init__(self) -> None:
        self.asked: list[tuple[dict[str, Any], str]] = []
        self.status = 200
        self.url = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        headers = dict(line.split(": ", 1) for line in head[1:] if ": " in line)
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        self.asked.append((body, headers.get("authorization", "")))
        sound = b"ID3" + body["input"].encode()
        writer.write(
            b"HTTP/1.1 %d Told\r\ncontent-type: audio/mpeg\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
            % (self.status, len(sound))
        )
        writer.write(sound)
        await writer.drain()
        writer.close()


@pytest.fixture
async def elsewhere() -> AsyncIterator[Elsewhere]:
    voice = Elsewhere()
    server = await asyncio.start_server(voice.answer, "127.0.0.1", 0)
    voice.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    yield voice
    server.close()


@pytest.fixture(params=["sqlite", "postgres"])
async def site(tmp_path: Path, fake_upstream: FakeUpstream, request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else ""
    async with open_site(tmp_path, fake_upstream.base_url, database_url=url) as site:
        yield site
