"""Against llmock, a fake written by strangers: what it breaks on purpose we notice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from chatserver_gemini.provider import GeminiProvider
from llmock.pytest_plugin import LLMock
from llmock.testing import LLMockServer

from chatserver import Channel, Finish, ProviderDelta, ToolCallDelta, ToolSpec, UpstreamError, UsageReport
from chatserver.testing.provider import ask, collect, open_egress, said

MODEL = "gemini-2.5-pro"


@pytest.fixture
def stranger() -> Iterator[LLMock]:
    with LLMockServer() as server:
        yield LLMock(server)


async def answer(
    stranger: LLMock, text: str = "How tall do oaks grow?", *, stream: bool = True, **more: object
) -> tuple[list[ProviderDelta], UpstreamError | None]:
    channel = Channel("stranger", "gemini", stranger.base_url("gemini"), "sk-test", gap_s=0.5, total_s=10.0)
    async with open_egress() as http:
        return await collect(GeminiProvider(), ask(MODEL, text, stream=stream, **more), channel, http)


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_is_read_with_its_usage(stranger: LLMock, stream: bool) -> None:
    stranger.reply("Oaks grow to forty metres — 橡树 🌳.")
    deltas, error = await answer(stranger, stream=stream)
    assert error is None
    assert said(deltas) == "Oaks grow to forty metres — 橡树 🌳."
    assert deltas[-1] == Finish("stop")
    usage = [delta.usage for delta in deltas if isinstance(delta, UsageReport)]
    assert usage and usage[0].input > 0 and usage[0].output > 0


@pytest.mark.parametrize("stream", [True, False])
async def test_a_tool_call_is_read_whole(stranger: LLMock, stream: bool) -> None:
    stranger.call_tool("measure", {"tree": "oak", "unit": "m"})
    tool = ToolSpec("measure", "Measures a tree.", {"type": "object", "properties": {"tree": {"type": "string"}}})
    deltas, _ = await answer(stranger, stream=stream, tools=(tool,))
    call = next(delta for delta in deltas if isinstance(delta, ToolCallDelta))
    assert call.name == "measure"
    assert call.arguments.replace(" ", "") == '{"tree":"oak","unit":"m"}'
    assert deltas[-1] == Finish("tool_calls")


async def test_a_rate_limit_is_read_with_its_wait(stranger: LLMock) -> None:
    stranger.rate_limit(retry_after=2.0)
    _, error = await answer(stranger)
    assert error is not None
    assert (error.kind, error.retryable, error.upstream_status) == ("rate_limit", True, 429)
    assert error.retry_after_s is not None and 1 <= error.retry_after_s <= 2
    deltas, error = await answer(stranger)
    assert error is None and said(deltas)


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [(400, "bad_request", False), (401, "key_refused", True), (403, "pair_refused", True), (500, "server", True),
     (502, "server", True), (503, "overloaded", True), (529, "overloaded", True)],
)  # fmt: skip
async def test_errors_are_told_apart(stranger: LLMock, status: int, kind: str, retryable: bool) -> None:
    stranger.fail(status)
    _, error = await answer(stranger)
    assert error is not None
    assert (error.kind, error.retryable, error.upstream_status) == (kind, retryable, status)


async def test_a_prompt_over_the_window_is_too_long(stranger: LLMock) -> None:
    stranger.context_overflow()
    _, error = await answer(stranger)
    assert error is not None
    assert (error.kind, error.retryable) == ("too_long", False)


async def test_a_dropped_connection_is_a_cut(stranger: LLMock) -> None:
    stranger.reply("one two three four five six seven eight").disconnect(after_chunks=3)
    deltas, error = await answer(stranger)
    assert error is not None and error.kind == "cut"
    assert "one two three four five six seven eight".startswith(said(deltas))
    assert not any(isinstance(delta, Finish) for delta in deltas)


async def test_a_stream_that_ends_early_in_silence_is_a_cut(stranger: LLMock) -> None:
    stranger.reply("one two three four five six seven eight").truncate(after_chunks=3)
    deltas, error = await answer(stranger)
    assert error is not None and error.kind == "cut"
    assert not any(isinstance(delta, Finish) for delta in deltas)


async def test_a_corrupted_chunk_is_not_skipped(stranger: LLMock) -> None:
    stranger.reply("one two three four five six seven eight").corrupt(after_chunks=2)
    _, error = await answer(stranger)
    assert error is not None and error.retryable


async def test_a_stalled_stream_is_a_timeout(stranger: LLMock) -> None:
    stranger.reply("one two three four five six").stall(after_chunks=2, seconds=5.0)
    _, error = await answer(stranger)
    assert error is not None and error.kind == "timeout"


async def test_its_models_are_listed(stranger: LLMock) -> None:
    channel = Channel("stranger", "gemini", stranger.base_url("gemini"), "sk-test")
    async with open_egress() as http:
        assert await GeminiProvider().list_models(channel, http)
