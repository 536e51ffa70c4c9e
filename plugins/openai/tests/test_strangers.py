"""Against llmock, a fake written by strangers: what it breaks on purpose we notice."""

from __future__ import annotations

from chatserver_openai.provider import OpenAIProvider

from chatserver import Provider
from chatserver.testing.strangers import StrangersContract


class TestOpenAIAmongStrangers(StrangersContract):
    vendor, model = "openai", "gpt-4o"

    def make_provider(self) -> Provider:
        return OpenAIProvider()
