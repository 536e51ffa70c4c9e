"""Against llmock, a fake written by strangers: what it breaks on purpose we notice."""

from __future__ import annotations

from chatserver_gemini.provider import GeminiProvider

from chatserver import Provider
from chatserver.testing.strangers import StrangersSchemaContract


class TestGeminiAmongStrangers(StrangersSchemaContract):
    vendor, model = "gemini", "gemini-2.5-pro"

    def make_provider(self) -> Provider:
        return GeminiProvider()
