"""Loaded as the server loads it."""

from __future__ import annotations

import sys
from collections.abc import Callable

import chatserver_local

from chatserver.testing import Plugins
from chatserver.testing.provider import open_egress


async def test_its_settings_reach_it_and_loading_it_starts_nothing(plugin_manager: Callable[..., Plugins]) -> None:
    plugins = plugin_manager(
        local=chatserver_local, settings={"local": {"context_tokens": "300", "warm_up": "no", "model_path": "/nowhere"}}
    )
    async with open_egress() as http:
        await plugins.start(db=None, http=http)
        ((_, provider),) = plugins.registered("register_providers")
        assert provider.name == "local"
        assert await provider.discover(http) == []
        assert provider.pid is None
    await chatserver_local.shutdown()
    assert "xllamacpp" not in sys.modules
