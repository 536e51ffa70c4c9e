"""The provider keeps the contract every provider keeps."""

from __future__ import annotations

from chatserver_anthropic.provider import AnthropicProvider

from chatserver import Provider
from chatserver.testing.provider import ProviderContract


class TestAnthropicProvider(ProviderContract):
    def make_provider(self) -> Provider:
        return AnthropicProvider()
