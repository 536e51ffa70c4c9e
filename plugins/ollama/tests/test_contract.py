"""The provider keeps the contract every provider keeps."""

from __future__ import annotations

from chatserver_ollama.provider import OllamaProvider

from chatserver import Provider, Usage, UsageReport
from chatserver.testing.provider import ProviderContract, ask
from chatserver.testing.upstream import FakeUpstream


class TestOllamaProvider(ProviderContract):
    def make_provider(self) -> Provider:
        return OllamaProvider()

    async def test_usage_counts_nothing_twice(self, fake_upstream: FakeUpstream) -> None:
        """Ollama tells neither what it had read before nor what was thought: all it wrote is output."""
        deltas, _ = await self.answer(fake_upstream, ask(self.model("cached"), "x" * 40))
        assert UsageReport(Usage(input=11, output=6)) in deltas
