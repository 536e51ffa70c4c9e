"""Loaded as the server loads it: the settings it reads, and its place after the vendors with keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import chatserver_ollama
import pytest

from chatserver.testing import Plugins
from chatserver.testing.provider import open_egress


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    yield
    chatserver_ollama._provider.configure("", "", 0)


async def test_a_host_makes_a_channel(plugin_manager: Callable[..., Plugins]) -> None:
    settings = {"ollama": {"host": "shed.local", "context_tokens": "32768"}}
    plugins = plugin_manager(ollama=chatserver_ollama, settings=settings)
    async with open_egress() as http:
        await plugins.start(db=None, http=http)
        ((name, provider),) = plugins.registered("register_providers")
        assert (name, provider.name) == ("ollama", "ollama")
        assert [channel.base_url for channel in await provider.discover(http)] == ["http://shed.local:11434"]
    ((_, offer),) = plugins.registered("register_channel_offers")
    assert (offer.title, offer.needs_key) == ("Ollama", False)


def test_the_environment_names_are_declared() -> None:
    declared = {setting.env: setting.kind for setting in chatserver_ollama.register_settings()}
    assert declared == {"OLLAMA_HOST": "text", "OLLAMA_API_KEY": "secret", "OLLAMA_CONTEXT_LENGTH": "number"}
