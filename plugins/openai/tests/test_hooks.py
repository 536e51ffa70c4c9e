"""Loaded as the server loads it: the two settings make a channel, and nothing else of the environment is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import chatserver_openai
import pytest

from chatserver.testing import Plugins
from chatserver.testing.provider import open_egress


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    yield
    chatserver_openai._provider.configure("", "")


@pytest.mark.parametrize(
    ("settings", "addresses"),
    [
        ({}, []),
        ({"api_key": "sk-1"}, ["https://api.openai.com/v1"]),
        ({"base_url": "http://127.0.0.1:11434/v1"}, ["http://127.0.0.1:11434/v1"]),
    ],
)
async def test_settings_make_a_channel(
    plugin_manager: Callable[..., Plugins], settings: dict[str, str], addresses: list[str]
) -> None:
    plugins = plugin_manager(openai=chatserver_openai, settings={"openai": settings})
    async with open_egress() as http:
        await plugins.start(db=None, http=http)
        ((name, provider),) = plugins.registered("register_providers")
        assert (name, provider.name) == ("openai", "openai")
        assert [channel.base_url for channel in await provider.discover(http)] == addresses


def test_the_environment_names_are_declared() -> None:
    declared = {setting.env: setting.kind for setting in chatserver_openai.register_settings()}
    assert declared == {"OPENAI_API_KEY": "secret", "OPENAI_BASE_URL": "text"}
