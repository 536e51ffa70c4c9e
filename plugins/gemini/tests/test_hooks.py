"""Loaded as the server loads it: a key makes a channel, and nothing else of the environment is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import chatserver_gemini
import pytest

from chatserver.testing import Plugins
from chatserver.testing.provider import open_egress


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    yield
    chatserver_gemini._provider.configure("", "")


@pytest.mark.parametrize(
    ("settings", "addresses"),
    [
        ({}, []),
        ({"base_url": "http://127.0.0.1:9000"}, []),
        ({"api_key": "sk-1"}, ["https://generativelanguage.googleapis.com"]),
        ({"api_key": "sk-1", "base_url": "http://127.0.0.1:9000"}, ["http://127.0.0.1:9000"]),
    ],
)
async def test_a_key_makes_a_channel(
    plugin_manager: Callable[..., Plugins], settings: dict[str, str], addresses: list[str]
) -> None:
    plugins = plugin_manager(gemini=chatserver_gemini, settings={"gemini": settings})
    async with open_egress() as http:
        await plugins.start(db=None, http=http)
        ((name, provider),) = plugins.registered("register_providers")
        assert (name, provider.name) == ("gemini", "gemini")
        assert [channel.base_url for channel in await provider.discover(http)] == addresses
    assert [offer.title for _, offer in plugins.registered("register_channel_offers")] == ["Google Gemini"]


def test_the_environment_names_are_declared() -> None:
    declared = {setting.env: setting.kind for setting in chatserver_gemini.register_settings()}
    assert declared == {"GEMINI_API_KEY": "secret", "GEMINI_BASE_URL": "text"}
