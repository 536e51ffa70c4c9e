"""A served house with the presets plugin, over each engine in turn."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from chatserver.testing.server import Site, SiteClient, open_site
from chatserver.testing.upstream import FakeUpstream

MODELS = ("fake-n5", "fake-echo", "fake-hang")


@pytest.fixture(params=["sqlite", "postgres"])
async def site(request: pytest.FixtureRequest, tmp_path: Path, fake_upstream: FakeUpstream) -> AsyncIterator[Site]:
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else ""
    async with open_site(tmp_path, fake_upstream.base_url, models=MODELS, database_url=url) as site:
        yield site


@pytest.fixture
async def ada(site: Site) -> SiteClient:
    return await site.sign_up("ada@example.org")


async def make(client: SiteClient, name: str = "Guide", **fields: str) -> str:
    """The id of a new preset, made by the form."""
    answer = await client.post("/x/presets/new", data={"name": name, **fields})
    assert answer.status_code == 303, answer.text
    found = re.fullmatch(r"/x/presets/(\w{26})\?saved=1", answer.headers["location"])
    assert found is not None
    return found[1]


async def ask(client: SiteClient, chat: str, text: str = "Hi", **more: Any) -> Any:
    """The answer to a send over the API, once what it began has ended."""
    answer = await client.post(f"/api/conversations/{chat}/messages", json={"text": text, **more})
    if answer.status_code == 202:
        await client.get(f"/api/turns/{answer.json()['turn_id']}/events")
    return answer
