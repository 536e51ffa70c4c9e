"""What a provider makes of llmock, a fake upstream written by strangers: what it breaks on purpose is noticed.

    class TestMyProvider(StrangersContract):
        vendor, model = "oracle", "oracle-2"

        def make_provider(self) -> Provider:
            return MyProvider()

vendor: the format it is to speak, as llmock names it. Needs llmock, which a server does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from chatserver.domain.extend import Finish, Provider, ProviderDelta, ToolSpec, UsageReport
from chatserver.domain.models import Channel
from chatserver.domain.turns import ToolCallDelta
from chatserver.errors import UpstreamError
from chatserver.testing.provider import ask, collect, open_egress, said

WORDS = "one two three four five six seven eight"


class StrangersContract:
    """Subclass it, and name the vendor, a model and the provider."""

    vendor: str
    model: str

    def make_provider(self) -> Provider:
        raise NotImplementedError

    @pytest.fixture
    def stranger(self) -> Iterator[Any]:
        from llmock.pytest_plugin import LLMock
        from llmock.testing import LLMockServer

        with LLMockServer() as server:
            yield LLMock(server)

    def channel(self, stranger: Any) -> Channel:
        return Channel("stranger", self.vendor, stranger.base_url(self.vendor), "sk-test", gap_s=0.5, total_s=10.0)

    async def answer(
        self, stranger: Any, text: str = "How tall do oaks grow?", *, stream: bool = True, **more: Any
    ) -> tuple[list[ProviderDelta], UpstreamError | None]:
        asked = ask(self.model, text, stream=stream, **more)
        async with open_egress() as http:
            return await collect(self.make_provider(), asked, self.channel(stranger), http)

    @pytest.mark.parametrize("stream", [True, False])
    async def test_an_answer_is_read_with_its_usage(self, stranger: Any, stream: bool) -> None:
        stranger.reply("Oaks grow to forty metres — 橡树 🌳.")
        deltas, error = await self.answer(stranger, stream=stream)
        assert error is None
        assert said(deltas) == "Oaks grow to forty metres — 橡树 🌳."
        assert deltas[-1] == Finish("stop")
        usage = [delta.usage for delta in deltas if isinstance(delta, UsageReport)]
        assert usage and usage[0].input > 0 and usage[0].output > 0

    @pytest.mark.parametrize("stream", [True, False])
    async def test_a_tool_call_is_read_whole(self, stranger: Any, stream: bool) -> None:
        stranger.call_tool("measure", {"tree": "oak", "unit": "m"})
        tool = ToolSpec("measure", "Measures a tree.", {"type": "object", "properties": {"tree": {"type": "string"}}})
        deltas, _ = await self.answer(stranger, stream=stream, tools=(tool,))
        call = next(delta for delta in deltas if isinstance(delta, ToolCallDelta))
        assert call.name == "measure"
        assert call.arguments.replace(" ", "") == '{"tree":"oak","unit":"m"}'
        assert deltas[-1] == Finish("tool_calls")

    async def test_a_rate_limit_is_read_with_its_wait(self, stranger: Any) -> None:
        stranger.rate_limit(retry_after=2.0)
        _, error = await self.answer(stranger)
        assert error is not None
        assert (error.kind, error.retryable, error.upstream_status) == ("rate_limit", True, 429)
        assert error.retry_after_s is not None and 1 <= error.retry_after_s <= 2
        deltas, error = await self.answer(stranger)
        assert error is None and said(deltas)

    @pytest.mark.parametrize(
        ("status", "kind", "retryable"),
        [(400, "bad_request", False), (401, "key_refused", True), (403, "pair_refused", True), (500, "server", True),
         (502, "server", True), (503, "overloaded", True), (529, "overloaded", True)],
    )  # fmt: skip
    async def test_errors_are_told_apart(self, stranger: Any, status: int, kind: str, retryable: bool) -> None:
        stranger.fail(status)
        _, error = await self.answer(stranger)
        assert error is not None
        assert (error.kind, error.retryable, error.upstream_status) == (kind, retryable, status)

    async def test_a_prompt_over_the_window_is_too_long(self, stranger: Any) -> None:
        stranger.context_overflow()
        _, error = await self.answer(stranger)
        assert error is not None
        assert (error.kind, error.retryable) == ("too_long", False)

    async def test_a_dropped_connection_is_a_cut(self, stranger: Any) -> None:
        stranger.reply(WORDS).disconnect(after_chunks=3)
        deltas, error = await self.answer(stranger)
        assert error is not None and error.kind == "cut"
        assert WORDS.startswith(said(deltas))
        assert not any(isinstance(delta, Finish) for delta in deltas)

    async def test_a_stream_that_ends_early_in_silence_is_a_cut(self, stranger: Any) -> None:
        stranger.reply(WORDS).truncate(after_chunks=3)
        deltas, error = await self.answer(stranger)
        assert error is not None and error.kind == "cut"
        assert not any(isinstance(delta, Finish) for delta in deltas)

    async def test_a_corrupted_chunk_is_not_skipped(self, stranger: Any) -> None:
        stranger.reply(WORDS).corrupt(after_chunks=2)
        _, error = await self.answer(stranger)
        assert error is not None and error.retryable

    async def test_a_stalled_stream_is_a_timeout(self, stranger: Any) -> None:
        stranger.reply(WORDS).stall(after_chunks=2, seconds=5.0)
        _, error = await self.answer(stranger)
        assert error is not None and error.kind == "timeout"

    async def test_its_models_are_listed(self, stranger: Any) -> None:
        async with open_egress() as http:
            assert await self.make_provider().list_models(self.channel(stranger), http)


class StrangersSchemaContract(StrangersContract):
    """For a format in which llmock knows what a schema is."""

    @pytest.mark.parametrize("stream", [True, False])
    async def test_an_answer_keeps_to_the_schema_that_was_asked_for(self, stranger: Any, stream: bool) -> None:
        leaf = {"type": "object", "properties": {"kind": {"enum": ["oak", "elm"]}, "years": {"type": "integer"}}}
        schema = {"type": "object", "properties": {"leaves": {"type": "array", "minItems": 2, "items": leaf}}}
        wanted = {"type": "json_schema", "json_schema": {"name": "trees", "schema": schema}}
        deltas, error = await self.answer(stranger, stream=stream, parameters={"response_format": wanted})
        assert error is None
        leaves = msgspec.json.decode(said(deltas))["leaves"]
        assert [leaf["kind"] for leaf in leaves] == ["oak", "oak"] and isinstance(leaves[0]["years"], int)
