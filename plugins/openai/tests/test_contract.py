"""The provider keeps the contract every provider keeps."""

from __future__ import annotations

from chatserver_openai.provider import OpenAIProvider

from chatserver import Provider
from chatserver.testing.provider import ProviderContract


class TestOpenAIProvider(ProviderContract):
    def make_provider(self) -> Provider:
        return OpenAIProvider()
