"""A served house for every test of the web; `chatserver.testing.server` says what it can do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chatserver.testing.server import Site, open_site
from chatserver.testing.upstream import FakeUpstream


@pytest.fixture
async def site(tmp_path: Path, fake_upstream: FakeUpstream) -> AsyncIterator[Site]:
    async with open_site(tmp_path, fake_upstream.base_url) as site:
        yield site
