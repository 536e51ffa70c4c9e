"""A full disk: sending answers 507, reading and signing in go on, and all is well again when there is room."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from chatserver.chat.doctor import examine
from chatserver.clock import monotonic_s
from chatserver.testing.server import PASSWORD, open_site
from chatserver.testing.upstream import FakeUpstream
from tests.chat.conftest import until


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
