"""The machine's clock jumps while people chat: minutes, an hour back, days both ways. Nobody is signed out by it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from chatserver.testing.upstream import FakeUpstream
from tests.flows.test_faults import Reader
from tests.running import RunningServer

SECRET = "0123456789abcdef0123456789abcdef"
PASSWORD = "correct horse battery"
STREAM, SHORT = "fake-n100-gap25", "fake-n5"
JUMPS = ["+5m", "-5m", "+3d", "+0", "-1h", "-3d", "+0"]
"""Each against the real time, one after another: from +5m to -5m is ten minutes back."""


class Clock:
    """What the server believes the time to be: libfaketime looks into a file every second."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set("+0")

    def set(self, offset: str) -> None:
        fresh = self._file.with_suffix(".fresh")
        fresh.write_text(offset + "\n")
        fresh.replace(self._file)

    @property
    def environment(self) -> dict[str, str]:
        (library,) = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DISABLE_SHM": "1",
        }


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path / "time")


@pytest.fixture
def server(tmp_path: Path, fake_upstream: FakeUpstream, database_url: str, clock: Clock) -> Iterator[RunningServer]:
    given = {"CHATSERVER_DATABASE_URL": database_url, "CHATSERVER_SECRET_KEY": SECRET} if database_url else {}
    environment = {**clock.environment, **given}
    made = RunningServer(tmp_path / "house", fake_upstream.base_url, models=[STREAM, SHORT], environment=environment)
    yield made.start()
    made.kill()


class Browser:
    """Signed in through the form, once."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))

    async def sign_in(self, email: str) -> None:
        form = {"email": email, "password": PASSWORD}
        async with self.session.post(
            f"{self.url}/sign-in", data=form, headers={"Sec-Fetch-Site": "same-origin"}, allow_redirects=False
        ) as answer:
            assert answer.status == 303, await answer.text()
            # Its end may lie in this process's past, or far ahead: the cookie is kept by hand.
            self.cookie = answer.headers["Set-Cookie"].partition(";")[0]
        self.session.cookie_jar.clear()
        page = await self.page("/settings")
        token = re.search(r'name="csrf" value="([^"]+)"', page)
        assert token is not None
        self.token = token[1]

    @property
    def headers(self) -> dict[str, str]:
        return {"Cookie": self.cookie, "Sec-Fetch-Site": "same-origin", "X-CSRF": getattr(self, "token", "")}

    async def page(self, path: str) -> str:
        async with self.session.get(self.url + path, headers=self.headers, allow_redirects=False) as answer:
            assert answer.status == 200, f"{path}: {answer.status}; signed out?"
            return await answer.text()

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        async with self.session.post(self.url + path, json=body, headers=self.headers) as answer:
            assert answer.status in (201, 202), await answer.text()
            return await answer.json()

    async def get(self, path: str) -> Any:
        return json.loads(await self.page(path))

    async def follow(self, turn_id: str) -> Reader:
        reader = Reader(turn_id)
        async with aiohttp.ClientSession(headers=self.headers) as session:
            await reader.read(session, self.url)
        return reader


async def jump(server: RunningServer, clock: Clock, jumps: list[str]) -> None:
    await asyncio.to_thread(server.account, "ann@example.org", PASSWORD)
    ann = Browser(server.url)
    try:
        await ann.sign_in("ann@example.org")
        chat = (await ann.post("/api/conversations", {"title": "Time"}))["id"]
        parent, path, versions = None, [], []
        first = await ann.post(f"/api/conversations/{chat}/messages", {"parent_id": None, "text": "0", "model": SHORT})
        await ann.follow(first["turn_id"])
        versions.append(first["question_id"])
        for number, offset in enumerate(jumps, 1):
            asked = {"parent_id": parent, "text": f"before {offset}", "model": STREAM}
            sent = await ann.post(f"/api/conversations/{chat}/messages", asked)
            reading = asyncio.create_task(ann.follow(sent["turn_id"]))
            await asyncio.sleep(0.5)  # some of the answer came before, some comes after
            clock.set(offset)
            async with asyncio.timeout(40):
                reader = await reading
            assert reader.end is not None and reader.end["state"] == "done", (offset, reader.end)
            assert reader.end["usage"]["output"] == 100
            assert len(reader.text.split()) == 100, offset
            path += [sent["question_id"], sent["reply_id"]]
            parent = sent["reply_id"]
            edited = await ann.post(f"/api/messages/{versions[-1]}/edit", {"text": str(number), "model": SHORT})
            again = await ann.follow(edited["turn_id"])
            assert again.end is not None and again.end["state"] == "done"
            versions.append(edited["question_id"])
            assert "Time" in await ann.page("/")
            found = (await ann.get(f"/api/conversations/{chat}/messages?tip={parent}"))["messages"]
            assert [message["id"] for message in found] == path
        tree = (await ann.get(f"/api/conversations/{chat}/messages?tree=1"))["messages"]
        asked_again = [m["id"] for m in tree if m["parent_id"] is None and m["parts"][0]["text"].isdigit()]
        assert sorted(asked_again) == versions, "a version that came later must sort later"
        assert len((await ann.get("/api/search?q=before"))["hits"]) == len(jumps)
    finally:
        await ann.session.close()
    assert "all is well" in await asyncio.to_thread(server.run, "doctor")
    log = server.log.read_text()
    assert "turn_lost" not in log and "Traceback" not in log


@pytest.mark.timeout(120)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_clock_that_jumps_days_and_back_disturbs_nobody(server: RunningServer, clock: Clock) -> None:
    await jump(server, clock, ["+3d", "-1h"])


@pytest.mark.torture
@pytest.mark.timeout(600)
async def test_a_clock_that_jumps_every_way_disturbs_nobody(server: RunningServer, clock: Clock) -> None:
    await jump(server, clock, JUMPS)


@pytest.mark.torture
@pytest.mark.timeout(120)
async def test_after_a_restart_in_the_past_a_later_version_still_sorts_later(
    server: RunningServer, clock: Clock
) -> None:
    clock.set("+3d")
    await jump(server, clock, ["+3d"])
    assert await asyncio.to_thread(server.stop) == 0
    clock.set("+0")
    await asyncio.to_thread(server.start)
    server.environment = {**server.environment}
    ann = Browser(server.url)
    try:
        await ann.sign_in("ann@example.org")
        (chat,) = (await ann.get("/api/conversations"))["conversations"]
        tree = (await ann.get(f"/api/conversations/{chat['id']}/messages?tree=1"))["messages"]
        newest = max(message["id"] for message in tree)
        sent = await ann.post(
            f"/api/conversations/{chat['id']}/messages", {"parent_id": None, "text": "later", "model": SHORT}
        )
        assert sent["question_id"] > newest
        await ann.follow(sent["turn_id"])
    finally:
        await ann.session.close()
