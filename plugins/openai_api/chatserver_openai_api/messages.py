"""`POST /v1/messages`: an answer as Anthropic's API gives it, and how long a question is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from chatserver import Context, NotFound, ReasoningDelta, TextDelta, ToolCallDelta, Usage
from chatserver_openai_api import failure
from chatserver_openai_api.messages_question import Asked, as_request, read_counted, read_question
from chatserver_openai_api.sending import Watch, read_body, send_events, send_json

_encode = msgspec.json.Encoder().encode
STOP = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content": "refusal"}


class Meters(msgspec.Struct, frozen=True):
    input_tokens: int
    output_tokens: int
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0


class Text(msgspec.Struct, frozen=True):
    text: str
    type: str = "text"


class Thought(msgspec.Struct, frozen=True):
    thinking: str
    signature: str = ""
    type: str = "thinking"


class ToolUse(msgspec.Struct, frozen=True):
    """signature: of a provider that wants to see it again; a client that sends the block back sends it along."""

    id: str
    name: str
    input: Any
    type: str = "tool_use"
    signature: str | msgspec.UnsetType = msgspec.UNSET


class Message(msgspec.Struct, frozen=True):
    id: str
    model: str
    content: list[Text | Thought | ToolUse] | list[Any]
    usage: Meters
    stop_reason: str | None = None
    stop_sequence: None = None
    role: str = "assistant"
    type: str = "message"


class Count(msgspec.Struct, frozen=True):
    input_tokens: int


class Messages:
    """Two ASGI apps: the answer, and the count."""

    def open(self, ctx: Context) -> None:
        self._calls = ctx.calls

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        state = scope["state"]
        asked = read_question(await read_body(receive))
        async with await self._calls.open(state["actor"], as_request(asked)) as call, Watch(receive, call.leave):
            if asked.stream:
                await send_events(send, _events(call, asked), lambda error: _write_failure(error, state))
            else:
                await send_json(send, await _whole(call, asked))

    async def count(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """By our own estimate; nobody is asked."""
        asked = read_counted(await read_body(receive))
        if all(model.id != asked.model for model in self._calls.models(scope["state"]["actor"])):
            raise NotFound(f"There is no model {asked.model[:100]!r} here.", code="unknown_model")
        await send_json(send, _encode(Count(self._calls.count(as_request(asked)))))


async def _events(call: Any, asked: Asked) -> AsyncIterator[bytes]:
    """Blocks follow each other; one begins when the kind of what is said changes."""
    empty = Message(f"msg_{call.call_id}", asked.model, [], Meters(call.input_tokens, 0))
    begin = _event(b"message_start", b'"message":' + _encode(empty))
    index, kind = -1, ""
    head = tail = b""
    async for delta in call.deltas():
        event = begin
        begin = b""
        if type(delta) is ToolCallDelta:
            if kind:
                event += _close(index, kind)
            index, kind = index + 1, ""
            block = ToolUse(delta.call_id, delta.name, {}, signature=delta.signature or msgspec.UNSET)
            event += _event(b"content_block_start", b'"index":%d,"content_block":%s' % (index, _encode(block)))
            piece = b'"index":%d,"delta":{"type":"input_json_delta","partial_json":%s}'
            event += _event(b"content_block_delta", piece % (index, _encode(delta.arguments)))
            yield event + _close(index, "tool_use")
            continue
        if type(delta) is TextDelta:
            wanted = "text"
        elif type(delta) is ReasoningDelta:
            wanted = "thinking"
        else:
            continue
        if kind != wanted:
            if kind:
                event += _close(index, kind)
            index, kind = index + 1, wanted
            fresh: Text | Thought = Text("") if kind == "text" else Thought("")
            event += _event(b"content_block_start", b'"index":%d,"content_block":%s' % (index, _encode(fresh)))
            head = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,' % index
            head += b'"delta":{"type":"%s_delta","%s":' % (kind.encode(), kind.encode())
            tail = b"}}\n\n"
        yield event + head + _encode(delta.text) + tail
    end = begin + (_close(index, kind) if kind else b"")
    stop = STOP.get(call.finish, "end_turn").encode()
    end += _event(
        b"message_delta",
        b'"delta":{"stop_reason":"%s","stop_sequence":null},"usage":%s' % (stop, _encode(meters_of(call.usage))),
    )
    yield end + b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


async def _whole(call: Any, asked: Asked) -> bytes:
    content: list[Text | Thought | ToolUse] = []
    kind: type[TextDelta] | type[ReasoningDelta] | None = None
    pieces: list[str] = []

    def close() -> None:
        if pieces:
            content.append(Text("".join(pieces)) if kind is TextDelta else Thought("".join(pieces)))
            pieces.clear()

    async for delta in call.deltas():
        if type(delta) is ToolCallDelta:
            close()
            arguments = read_arguments(delta.arguments)
            signature = delta.signature or msgspec.UNSET
            content.append(ToolUse(delta.call_id, delta.name, arguments, signature=signature))
        elif type(delta) is TextDelta or type(delta) is ReasoningDelta:
            if type(delta) is not kind:
                close()
                kind = type(delta)
            pieces.append(delta.text)
    close()
    stop = STOP.get(call.finish, "end_turn")
    return _encode(Message(f"msg_{call.call_id}", asked.model, content, meters_of(call.usage), stop))


def meters_of(usage: Usage) -> Meters:
    """Our meters as Anthropic counts: what came from the cache beside the input, what was thought within the output."""
    return Meters(usage.input, usage.output + usage.reasoning, usage.cache_write, usage.cached)


def read_arguments(text: str) -> Any:
    """A model's arguments as an object; what it wrote that is none is handed over as it is."""
    try:
        told = msgspec.json.decode(text)
    except msgspec.DecodeError:
        told = None
    return told if isinstance(told, dict) else {"arguments": text}


def _event(name: bytes, fields: bytes) -> bytes:
    return b'event: %s\ndata: {"type":"%s",%s}\n\n' % (name, name, fields)


def _close(index: int, kind: str) -> bytes:
    signed = b""
    if kind == "thinking":
        signed = _event(b"content_block_delta", b'"index":%d,"delta":{"type":"signature_delta","signature":""}' % index)
    return signed + _event(b"content_block_stop", b'"index":%d' % index)


def _write_failure(error: Any, state: dict[str, Any]) -> bytes:
    return b"event: error\ndata: " + _encode(failure.anthropic_body(error, state["request_id"])) + b"\n\n"
