"""The pytest plugin of chatserver: fixtures for whoever tests a plugin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from chatserver.testing.upstream import FakeUpstream


@pytest.fixture
def fake_upstream() -> Iterator[FakeUpstream]:
    """A model's vendor over real HTTP, in a thread of its own; `chatserver.testing.upstream` says how it behaves."""
    from chatserver.testing.upstream import FakeUpstream

    with FakeUpstream.in_thread() as upstream:
        yield upstream
