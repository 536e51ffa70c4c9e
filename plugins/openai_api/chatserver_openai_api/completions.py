"""`POST /v1/chat/completions`: an answer as it is written, or whole."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from chatserver import Context, ReasoningDelta, TextDelta, ToolCallDelta, Usage
from chatserver_openai_api import failure
from chatserver_openai_api.question import Asked, as_request, read_question
from chatserver_openai_api.sending import Watch, read_body, send_events, send_json

_encode = msgspec.json.Encoder().encode
FINISH = {"stop": "stop", "length": "length", "tool_calls": "tool_calls", "content": "content_filter"}
DONE = b"data: [DONE]\n\n"


class PromptDetails(msgspec.Struct, frozen=True):
    cached_tokens: int = 0


class CompletionDetails(msgspec.Struct, frozen=True):
    reasoning_tokens: int = 0


class Meters(msgspec.Struct, frozen=True):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails
    completion_tokens_details: CompletionDetails


class CalledFunction(msgspec.Struct, frozen=True):
    name: str
    arguments: str


class Called(msgspec.Struct, frozen=True, omit_defaults=True):
    id: str
    function: CalledFunction
    index: int | msgspec.UnsetType = msgspec.UNSET
    type: str | msgspec.UnsetType = msgspec.UNSET
    signature: str = ""


class Reply(msgspec.Struct, frozen=True):
    content: str | None
    role: str = "assistant"
    refusal: str | None = None
    tool_calls: list[Called] | msgspec.UnsetType = msgspec.UNSET
    reasoning_content: str | msgspec.UnsetType = msgspec.UNSET


class Choice(msgspec.Struct, frozen=True):
    message: Reply
    finish_reason: str
    index: int = 0
    logprobs: None = None


class Completion(msgspec.Struct, frozen=True):
    id: str
    created: int
    model: str
    choices: list[Choice]
    usage: Meters
    object: str = "chat.completion"


class Completions:
    """The ASGI app."""

    def open(self, ctx: Context) -> None:
        self._calls = ctx.calls
        self._clock = ctx.clock

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        asked = read_question(await read_body(receive))
        call = await self._calls.open(scope["state"]["actor"], as_request(asked))
        async with call, Watch(receive, call.leave):
            if asked.stream:
                await send_events(send, _events(call, asked), _write_failure)
            else:
                await send_json(send, await _whole(call, asked))


async def _events(call: Any, asked: Asked) -> AsyncIterator[bytes]:
    """Chunks, each a head and a tail that stay the same around one encoded text."""
    usage = b',"usage":null}\n\n' if asked.wants_usage else b"}\n\n"
    head = b'data: {"id":"chatcmpl-%s","object":"chat.completion.chunk","created":%d,"model":%s,"choices":[' % (
        call.call_id.encode(),
        call.started_at // 1_000_000,
        _encode(asked.model),
    )
    text_head = head + b'{"index":0,"delta":{"content":'
    thought_head = head + b'{"index":0,"delta":{"reasoning_content":'
    tail = b'},"logprobs":null,"finish_reason":null}]' + usage
    tools = 0
    begin = head + b'{"index":0,"delta":{"role":"assistant","content":""' + tail
    async for delta in call.deltas():
        if type(delta) is TextDelta:
            event = text_head + _encode(delta.text) + tail
        elif type(delta) is ReasoningDelta:
            event = thought_head + _encode(delta.text) + tail
        elif type(delta) is ToolCallDelta:
            called = Called(
                delta.call_id, CalledFunction(delta.name, delta.arguments), tools, "function", delta.signature
            )
            event = head + b'{"index":0,"delta":{"tool_calls":' + _encode([called]) + tail
            tools += 1
        else:
            continue
        yield begin + event if begin else event
        begin = b""
    finish = FINISH.get(call.finish, "stop").encode()
    end = head + b'{"index":0,"delta":{},"logprobs":null,"finish_reason":"%s"}]' % finish + usage
    if asked.wants_usage:
        end += head + b'],"usage":' + _encode(meters_of(call.usage)) + b"}\n\n"
    yield begin + end + DONE


async def _whole(call: Any, asked: Asked) -> bytes:
    texts: list[str] = []
    thoughts: list[str] = []
    tools: list[Called] = []
    async for delta in call.deltas():
        if type(delta) is TextDelta:
            texts.append(delta.text)
        elif type(delta) is ReasoningDelta:
            thoughts.append(delta.text)
        elif type(delta) is ToolCallDelta:
            function = CalledFunction(delta.name, delta.arguments)
            tools.append(Called(delta.call_id, function, type="function", signature=delta.signature))
    reply = Reply(
        "".join(texts) if texts or not tools else None,
        tool_calls=tools or msgspec.UNSET,
        reasoning_content="".join(thoughts) if thoughts else msgspec.UNSET,
    )
    return _encode(
        Completion(
            f"chatcmpl-{call.call_id}",
            call.started_at // 1_000_000,
            asked.model,
            [Choice(reply, FINISH.get(call.finish, "stop"))],
            meters_of(call.usage),
        )
    )


def meters_of(usage: Usage) -> Meters:
    """Our disjoint meters as OpenAI counts: what was cached within the prompt, what was thought within the answer."""
    asked, told = usage.input + usage.cached + usage.cache_write, usage.output + usage.reasoning
    return Meters(asked, told, asked + told, PromptDetails(usage.cached), CompletionDetails(usage.reasoning))


def _write_failure(error: Any) -> bytes:
    return b"data: " + _encode(failure.OpenAIBody(failure.openai_error(error))) + b"\n\n"
