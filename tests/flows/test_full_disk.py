"""A full disk: sending answers 507, reading and signing in go on, and all is well again when there is room."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from chatserver.chat.doctor import examine
from chatserver.clock import monotonic_s
from chatserver.testing.server import PASSWORD, open_site
from chatserver.testing.upstream import FakeUpstream
from tests.chat.conftest import until
from tests.running import RunningServer


def limit_pages(site: Any, pages: int) -> None:
    """Let the database file grow to this many pages and no further: SQLite then says that the disk is full."""
    for lane in site.house.db._lanes:
        lane.connection.execute(f"PRAGMA max_page_count = {pages}")


@pytest.mark.timeout(60)
async def test_a_full_disk_refuses_what_is_new_and_keeps_the_rest(tmp_path: Path, fake_upstream: FakeUpstream) -> None:
    async with open_site(tmp_path, fake_upstream.base_url) as site:
        await site.house.accounts.create("ann@example.org", secret=PASSWORD)
        ann = await site.sign_in("ann@example.org")
        made = (await ann.post("/api/conversations", json={})).json()["id"]
        asked = {"parent_id": None, "text": "word " * 30_000, "model": "fake-n5"}
        used = await site.house.db.read(lambda tx: tx.one(int, "SELECT page_count FROM pragma_page_count"))
        limit_pages(site, used or 0)
        refused = None
        for _ in range(10):
            refused = await ann.post(f"/api/conversations/{made}/messages", json=asked)
            if refused.status_code != 202:
                break
        assert refused is not None
        assert refused.status_code == 507, refused.text
        assert refused.json()["error"]["code"] == "storage_full"
        assert (await ann.get(f"/api/conversations/{made}/messages")).status_code == 200
        assert (await ann.get(f"/c/{made}")).status_code == 200
        assert (await site.sign_in("ann@example.org")).cookies
        limit_pages(site, 1_000_000)
        deadline = monotonic_s() + 10
        while (await ann.post(f"/api/conversations/{made}/messages", json=asked)).status_code != 202:
            assert monotonic_s() < deadline, "it did not recover by itself"
            await asyncio.sleep(0.2)
        await until(lambda: not len(site.house.live))
        assert await examine(site.house.db) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 MB, in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], capture_output=True, text=True, timeout=10
    )
    if made.returncode:
        pytest.skip(f"mounting is not allowed here: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=10)


class Ballast:
    """Takes all the room of a disk but so much."""

    def __init__(self, disk: Path) -> None:
        self._disk = disk
        self._path = disk / "ballast"

    def leave(self, free_bytes: int) -> None:
        self.leave_all()
        stands = os.statvfs(self._disk)
        with self._path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, stands.f_bavail * stands.f_frsize - free_bytes)

    def leave_all(self) -> None:
        self._path.unlink(missing_ok=True)


def says(server: RunningServer, *words: str) -> str:
    """What a command that fails says, in one sentence."""
    done = subprocess.run(server.command(*words), env=server.environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, (words, done.stderr)
    return done.stderr


@pytest.mark.torture
@pytest.mark.timeout(180)
def test_a_disk_that_is_really_full(small_disk: Path, tmp_path: Path, fake_upstream: FakeUpstream) -> None:
    """A server, its data and its temporary files on one small disk: whatever needs room says so, the rest goes on."""
    server = RunningServer(
        small_disk / "house", fake_upstream.base_url, models=["fake-n5"], environment={"TMPDIR": str(small_disk)}
    )
    server.log = tmp_path / "server.log"
    server.start()
    try:
        key = server.account("ann@example.org", PASSWORD)
        with (
            httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {key}"}, timeout=30) as ann,
            httpx.Client(base_url=server.url, headers={"Sec-Fetch-Site": "same-origin"}, timeout=30) as browser,
        ):
            fill_and_look(server, ann, browser, Ballast(small_disk), tmp_path)
    finally:
        server.kill()


def fill_and_look(
    server: RunningServer, ann: httpx.Client, browser: httpx.Client, ballast: Ballast, aside: Path
) -> None:
    sign_in = {"email": "ann@example.org", "password": PASSWORD}
    assert browser.post("/sign-in", data=sign_in).status_code == 303
    browser.headers["X-CSRF"] = browser.get("/").text.partition('name="csrf" value="')[2].partition('"')[0]
    chat = ann.post("/api/conversations", json={"title": "kept"}).json()["id"]
    asked = {"parent_id": None, "text": "word " * 30_000, "model": "fake-n5"}
    rows = [
        {"conversation_id": f"c{n}", "mapping": {"a": {"message": {"author": {"role": "user"}, "content": content}}}}
        for n, content in enumerate([{"content_type": "text", "parts": ["word " * 800]}] * 2_000)
    ]
    chats = json.dumps(rows).encode()
    (aside / "chats.json").write_bytes(chats)
    upload = {"file": ("notes.txt", b"hello " * 50_000, "text/plain")}

    ballast.leave(0)
    answers = [ann.post(f"/api/conversations/{chat}/messages", json=asked) for _ in range(6)]
    answers += [
        ann.post("/api/conversations", json={}),
        ann.post("/api/files", files=upload),
        browser.post("/send", data={"text": "word " * 30_000, "model": "fake-n5"}),
        browser.post("/folders", data={"name": "new"}),
        browser.post("/settings/data/import", files={"file": ("chats.json", chats, "application/json")}),
    ]
    told = [answer for answer in answers if answer.status_code != 202]
    assert len(told) >= 6 and {answer.status_code for answer in told} == {507}, [a.status_code for a in answers]
    assert all("disk" in answer.text and answer.headers["retry-after"] for answer in told)
    for address in (f"/c/{chat}", "/settings", "/api/search?q=word", "/readyz"):
        assert browser.get(address).status_code == 200, address
    assert httpx.post(f"{server.url}/sign-in", data=sign_in, headers=browser.headers).status_code == 303
    reserve = next(server.data.glob("*.reserve"), None)
    while reserve is not None and reserve.exists():  # also what is held back for this day
        ann.post(f"/api/conversations/{chat}/messages", json=asked)
    ballast.leave(0)
    assert "no room" in says(server, "backup", str(server.folder / "all.backup"))
    assert not list(server.folder.glob("all.backup*"))
    assert "rows of" in server.run("backup", str(aside / "all.backup"))

    for free_mb in (6, 12):  # enough for the file, too little for what is made of it
        ballast.leave(free_mb * 1_000_000)
        brought = browser.post("/settings/data/import", files={"file": ("chats.json", chats, "application/json")})
        assert brought.status_code == 507, brought.text
    ballast.leave(0)
    assert "disk" in says(server, "import", str(aside / "chats.json"), "--account", "ann@example.org")

    ballast.leave_all()
    deadline = monotonic_s() + 10
    while ann.post(f"/api/conversations/{chat}/messages", json=asked).status_code != 202:
        assert monotonic_s() < deadline, "it did not recover by itself"
    brought = browser.post("/settings/data/import", files={"file": ("chats.json", chats, "application/json")})
    assert brought.status_code == 200, brought.text
    assert "all is well" in server.run("doctor") and "is sound" in server.run("verify")
    assert not list((server.data / "blobs" / "spool").glob("*")) and len(server.log.read_text().splitlines()) < 300
