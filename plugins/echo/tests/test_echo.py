"""The echo does what its name says, and the same each time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import chatserver_echo
import pytest
from chatserver_echo.behaviour import Behaviour, read_behaviour

from chatserver import (
    Channel,
    ChatRequest,
    Finish,
    PromptMessage,
    ReasoningDelta,
    TextDelta,
    TextPart,
    ToolCallDelta,
    ToolSpec,
    UpstreamError,
    UsageReport,
)
from chatserver.testing import Plugins

CHANNEL = Channel("echo", "echo", first_token_s=0.01, gap_s=0.01)


async def ask(model: str, text: str = "one two three", **more: Any) -> list[Any]:
    request = ChatRequest(model, (PromptMessage("user", (TextPart(text),)),), **more)
    (echo,) = chatserver_echo.register_providers()
    return [delta async for delta in echo.chat(request, CHANNEL, None)]  # type: ignore[arg-type]


def said(deltas: list[Any]) -> str:
    return "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))


async def test_it_says_the_question_again() -> None:
    deltas = await ask("echo", "one  two\nthree")
    assert said(deltas) == "one  two\nthree"
    assert deltas[-1] == Finish("stop")


async def test_words_reasoning_and_usage_by_number() -> None:
    deltas = await ask("echo-n30-think4-cached1")
    assert sum(isinstance(delta, TextDelta) for delta in deltas) == 30
    assert sum(isinstance(delta, ReasoningDelta) for delta in deltas) == 4
    (report,) = [delta.usage for delta in deltas if isinstance(delta, UsageReport)]
    assert (report.output, report.reasoning, report.cached, report.estimated) == (30, 4, 1, False)
    assert not any(isinstance(delta, UsageReport) for delta in await ask("echo-nousage"))


async def test_the_same_question_gives_the_same_answer() -> None:
    assert await ask("echo-n50-think5") == await ask("echo-n50-think5")


async def test_it_keeps_to_a_bound_and_ends_for_length() -> None:
    deltas = await ask("echo-n30", max_output=7)
    assert sum(isinstance(delta, TextDelta) for delta in deltas) == 7
    assert deltas[-1] == Finish("length")
    assert (await ask("echo-length"))[-1] == Finish("length")


async def test_it_calls_the_tool_it_was_given() -> None:
    deltas = await ask("echo-tool", tools=(ToolSpec("look", "Look.", {}),))
    assert [delta.name for delta in deltas if isinstance(delta, ToolCallDelta)] == ["look"]
    assert deltas[-1] == Finish("tool_calls")


async def test_a_cut_answer_has_no_finish() -> None:
    deltas = await ask("echo-n30-cut5")
    assert len(deltas) == 5
    assert not any(isinstance(delta, Finish) for delta in deltas)


@pytest.mark.parametrize(
    ("model", "kind", "retryable", "retry_after_s"),
    [
        ("echo-err429-retry3", "rate_limit", True, 3),
        ("echo-err500", "server", True, None),
        ("echo-err401", "key_refused", False, None),
        ("echo-err400", "bad_request", False, None),
        ("echo-window1", "too_long", False, None),
        ("echo-stall2", "timeout", True, None),
        ("echo-hang", "timeout", True, None),
    ],
)
async def test_faults_are_upstream_errors(model: str, kind: str, retryable: bool, retry_after_s: int | None) -> None:
    with pytest.raises(UpstreamError) as caught:
        await ask(model)
    assert (caught.value.kind, caught.value.retryable, caught.value.retry_after_s) == (kind, retryable, retry_after_s)


async def test_a_share_of_the_questions_is_hit() -> None:
    hits = 0
    for number in range(200):
        try:
            await ask("echo-err500-p30", f"question {number}")
        except UpstreamError:
            hits += 1
    assert 40 <= hits <= 80


def test_a_name_is_read_leniently() -> None:
    assert read_behaviour("echo") == Behaviour()
    assert read_behaviour("echo-x9-n-7-n12") == Behaviour(tokens=12)
    assert read_behaviour("") == Behaviour()


@pytest.mark.parametrize(("settings", "channels"), [({}, 0), ({"offer": "true"}, 1)])
async def test_it_is_offered_when_asked_for(
    plugin_manager: Callable[..., Plugins], settings: dict[str, str], channels: int
) -> None:
    plugins = plugin_manager(echo=chatserver_echo, settings={"echo": settings})
    await plugins.start()
    ((_, echo),) = plugins.registered("register_providers")
    assert len(await echo.discover(None)) == channels
    models = await echo.list_models(CHANNEL, None)
    assert all(model.is_demo and model.context_tokens for model in models)
    await plugins.stop()
