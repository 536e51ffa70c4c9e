"""Against llmock, a fake written by strangers: what it breaks on purpose we notice.

llmock 0.2 knows a schema by the name it had in Anthropic's beta, `output_format`, and not by today's: what becomes of
schemas is shown in `test_provider.py`.
"""

from __future__ import annotations

from chatserver_anthropic.provider import AnthropicProvider

from chatserver import Provider
from chatserver.testing.strangers import StrangersContract


class TestAnthropicAmongStrangers(StrangersContract):
    vendor, model = "anthropic", "claude-sonnet-4-6"

    def make_provider(self) -> Provider:
        return AnthropicProvider()
