"""A served house for every test of the web; `chatserver.testing.server` says what it can do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from chatserver.testing.server import Site, open_site
from chatserver.testing.upstream import FakeUpstream


@pytest.fixture
async def site(tmp_path: Path, fake_upstream: FakeUpstream) -> AsyncIterator[Site]:
    """A fresh one."""
    async with open_site(tmp_path, fake_upstream.base_url) as site:
        yield site


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """One for a whole file, whose tests run on its loop: `pytestmark = pytest.mark.asyncio(loop_scope="module")`."""
    with FakeUpstream.in_thread() as upstream:
        async with open_site(tmp_path_factory.mktemp("site"), upstream.base_url) as site:
            yield site
