"""The provider keeps the contract every provider keeps."""

from __future__ import annotations

from chatserver_gemini.provider import GeminiProvider

from chatserver import Provider
from chatserver.testing.provider import ProviderContract


class TestGeminiProvider(ProviderContract):
    def make_provider(self) -> Provider:
        return GeminiProvider()
