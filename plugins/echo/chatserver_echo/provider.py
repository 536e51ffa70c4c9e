"""The provider: says the question again, or as many words as asked for, with the delays and faults asked for."""

from __future__ import annotations

import asyncio
import itertools
import re
import zlib
from collections.abc import AsyncIterator, Iterator

from chatserver import (
    Channel,
    ChatRequest,
    Egress,
    Finish,
    Model,
    ProviderDelta,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    UpstreamError,
    Usage,
    UsageReport,
    estimate_tokens,
    text_of,
)
from chatserver_echo.behaviour import Behaviour, read_behaviour

OFFERED = (
    "echo",
    "echo-gap40",
    "echo-n200-gap20",
    "echo-think40-n80-gap20",
    "echo-n400-gap10-cut120",
    "echo-err429-retry5",
)
TEXT = (
    "An echo keeps nothing back. It says what was said, a little later and from further away, and whoever listens "
    "learns mostly how far the wall is. "
)
_WORD = re.compile(r"\S+\s*|\s+")
_KINDS = {
    400: "bad_request",
    401: "key_refused",
    403: "pair_refused",
    404: "not_found",
    408: "timeout",
    413: "too_long",
    429: "rate_limit",
    529: "overloaded",
}
_RETRYABLE = {408, 409, 429, 529}


class Echo:
    """No network, no clock, no chance: the same question to the same name gives the same answer."""

    name = "echo"
    is_offered = False

    async def discover(self, http: Egress) -> list[Channel]:
        return [Channel("echo", self.name, priority=-100, source="found")] if self.is_offered else []

    async def list_models(self, channel: Channel, http: Egress) -> list[Model]:
        names = [alias.upstream for alias in channel.models] or list(OFFERED)
        return [_model(name) for name in names]

    async def chat(self, request: ChatRequest, channel: Channel, http: Egress) -> AsyncIterator[ProviderDelta]:
        asked = read_behaviour(request.model)
        question = next((text_of(one.parts) for one in reversed(request.messages) if one.role == "user"), "")
        input_tokens = sum(estimate_tokens(text_of(one.parts)) for one in request.messages)
        has_fault = zlib.crc32(question.encode()) % 100 < asked.fault_percent
        await asyncio.sleep(asked.wait_ms / 1000)
        if asked.hangs and has_fault:
            await _fall_silent(channel.first_token_s)
        if asked.error_status and has_fault:
            raise _error(asked)
        if input_tokens > asked.window_tokens:
            raise UpstreamError("The question does not fit this model.", kind="too_long", retryable=False)
        thoughts = list(itertools.islice(_endless(), asked.think_tokens))
        for thought in thoughts:
            yield ReasoningDelta(thought)
            await asyncio.sleep(asked.gap_ms / 1000)
        said = 0
        reason = "length" if asked.ends_for_length else "stop"
        for word in _words(question, asked):
            if request.max_output and said >= request.max_output:
                reason = "length"
                break
            if has_fault and said == asked.cut_after:
                return
            if has_fault and said == asked.stall_after:
                await _fall_silent(channel.gap_s)
            yield TextDelta(word)
            said += 1
            await asyncio.sleep(asked.gap_ms / 1000)
        if asked.calls_tool and request.tools:
            yield ToolCallDelta(f"call_{said}", request.tools[0].name, "{}")
            reason = "tool_calls"
        if not asked.tells_no_usage:
            cached = min(asked.cached_tokens, input_tokens)
            yield UsageReport(Usage(input=input_tokens - cached, cached=cached, output=said, reasoning=len(thoughts)))
        yield Finish(reason)


def _model(name: str) -> Model:
    asked = read_behaviour(name)
    abilities = ("reasoning",) if asked.think_tokens else ()
    can = (*abilities, "tools")
    return Model(name, context_tokens=asked.window_tokens, abilities=can, is_demo=True, lacks=("images",))


def _words(question: str, asked: Behaviour) -> Iterator[str]:
    if asked.tokens is None:
        return iter(_WORD.findall(question))
    return itertools.islice(_endless(), asked.tokens)


def _endless() -> Iterator[str]:
    return itertools.cycle(_WORD.findall(TEXT))


async def _fall_silent(patience_s: float) -> None:
    """As an upstream that sends nothing: whoever waits gives up by the channel's rule."""
    await asyncio.sleep(patience_s)
    raise UpstreamError("The model fell silent.", kind="timeout", retryable=True)


def _error(asked: Behaviour) -> UpstreamError:
    status = asked.error_status
    return UpstreamError(
        f"The echo was asked to answer {status}.",
        kind=_KINDS.get(status, "server" if status >= 500 else "bad_request"),
        retryable=status in _RETRYABLE or status >= 500,
        upstream_status=status,
        retry_after_s=asked.retry_after_s,
    )
