"""What an answer says: events become deltas, pieces of tool calls whole ones, thoughts keep their signature."""

from __future__ import annotations

from typing import Any

import msgspec

from chatserver import Channel, Finish, ProviderDelta, ReasoningDelta, TextDelta, ToolCallDelta, Usage, UsageReport
from chatserver.upstreams import failure, kind_of, read_error_object, unreadable
from chatserver_anthropic.refusal import refused
from chatserver_anthropic.signed import Block as Kept
from chatserver_anthropic.signed import Redacted, Text, Thinking, seal

MAX_TOOL_CALLS = 128
_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content",
}


class Block(msgspec.Struct):
    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str = ""
    name: str = ""
    input: Any = None


class Delta(msgspec.Struct):
    type: str = ""
    text: str = ""
    thinking: str = ""
    signature: str = ""
    partial_json: str = ""
    stop_reason: str | None = None


class OutputDetails(msgspec.Struct):
    thinking_tokens: int | None = None


class Meters(msgspec.Struct):
    """As told: what was read from and written to the cache is not within `input_tokens`; thoughts are in the output."""

    input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    output_tokens: int | None = None
    output_tokens_details: OutputDetails | None = None


class Message(msgspec.Struct):
    content: list[Block] = []
    stop_reason: str | None = None
    usage: Meters | None = None


class Event(msgspec.Struct):
    """One event of a stream, or a whole answer: which fields are there depends on its type."""

    type: str = ""
    message: Message | None = None
    content_block: Block | None = None
    delta: Delta | None = None
    usage: Meters | None = None
    error: Any = None
    content: list[Block] | None = None
    stop_reason: str | None = None


decode_event = msgspec.json.Decoder(Event, strict=False).decode


class Answer:
    """Implements `chatserver.upstreams.Answer`. secrets: what an error may not repeat."""

    def __init__(self, channel: Channel, secrets: tuple[str, ...]) -> None:
        self._channel = channel
        self._secrets = secrets
        self._open = Block()
        self._pieces: list[str] = []
        self._signature: list[str] = []
        self._before_call: list[Kept] = []
        self._calls = 0
        self._has_spoken = False
        self._meters: dict[str, int] = {}
        self.finish = ""

    def take(self, event: bytes, deltas: list[ProviderDelta]) -> bool:
        try:
            told = decode_event(event)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise unreadable(self._channel.name) from None
        return self._take(told, deltas)

    def take_last(self, event: bytes, deltas: list[ProviderDelta]) -> bool:
        """The event the body ended in: half of one means the answer was cut, not that it is unreadable."""
        try:
            told = decode_event(event)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return False
        return self._take(told, deltas)

    def take_whole(self, body: bytes, deltas: list[ProviderDelta]) -> None:
        try:
            told = decode_event(body)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise unreadable(self._channel.name, kind_of(body)) from None
        self._check(told)
        if told.content is None:
            raise unreadable(self._channel.name, "an answer without content")
        self._count(told.usage)
        for block in told.content:
            self._begin(block, deltas)
            self._end(deltas)
        self._stop(told.stop_reason or "end_turn", deltas)

    def close(self) -> list[ProviderDelta]:
        reason = _FINISH.get(self.finish, "stop")
        return [*self._usage(), Finish("tool_calls" if self._calls and reason == "stop" else reason)]

    def _take(self, told: Event, deltas: list[ProviderDelta]) -> bool:
        self._check(told)
        if told.type == "content_block_delta" and told.delta is not None:
            self._say(told.delta, deltas)
        elif told.type == "content_block_start" and told.content_block is not None:
            self._begin(told.content_block, deltas)
        elif told.type == "content_block_stop":
            self._end(deltas)
        elif told.type == "message_start" and told.message is not None:
            self._count(told.message.usage)
        elif told.type == "message_delta":
            self._count(told.usage)
            if told.delta is not None and told.delta.stop_reason:
                self._stop(told.delta.stop_reason, deltas)
        return told.type == "message_stop"

    def _check(self, told: Event) -> None:
        if told.type == "error" or told.error:
            error = read_error_object({"error": told.error or "an error without words"})
            raise refused(self._channel, 0, error, None, self._secrets)

    def _begin(self, block: Block, deltas: list[ProviderDelta]) -> None:
        self._open, self._pieces, self._signature = block, [], []
        if block.text:
            self._text(block.text, deltas)
        if block.thinking:
            self._thought(block.thinking, deltas)
        if block.signature:
            self._signature.append(block.signature)

    def _say(self, delta: Delta, deltas: list[ProviderDelta]) -> None:
        if delta.text:
            self._text(delta.text, deltas)
        elif delta.thinking:
            self._thought(delta.thinking, deltas)
        elif delta.partial_json:
            self._pieces.append(delta.partial_json)
        elif delta.signature:
            self._signature.append(delta.signature)

    def _text(self, text: str, deltas: list[ProviderDelta]) -> None:
        self._pieces.append(text)
        self._has_spoken = True
        deltas.append(TextDelta(text))

    def _thought(self, text: str, deltas: list[ProviderDelta]) -> None:
        self._pieces.append(text)
        deltas.append(ReasoningDelta(text))

    def _end(self, deltas: list[ProviderDelta]) -> None:
        block, said = self._open, "".join(self._pieces)
        if block.type == "thinking" and self._signature:
            self._before_call.append(Thinking(said, "".join(self._signature)))
        elif block.type == "redacted_thinking" and block.data:
            self._before_call.append(Redacted(block.data))
        elif block.type == "text" and said:
            self._before_call.append(Text(said))
        elif block.type == "tool_use" and self._calls < MAX_TOOL_CALLS:
            arguments = said or (msgspec.json.encode(block.input).decode() if block.input else "{}")
            call_id = block.id or f"call_{self._calls}"
            deltas.append(ToolCallDelta(call_id, block.name, arguments, signature=seal(self._before_call)))
            self._before_call = []
            self._calls += 1
            self._has_spoken = True
        self._open = Block()

    def _stop(self, reason: str, deltas: list[ProviderDelta]) -> None:
        self.finish = reason
        if reason == "refusal" and not self._has_spoken:
            deltas += self._usage()
            error = read_error_object({"error": {"message": "", "type": "content_policy"}})
            raise failure(self._channel.name, 400, error)

    def _count(self, meters: Meters | None) -> None:
        """Later figures are of the whole answer so far, and replace the earlier ones."""
        if meters is None:
            return
        details = meters.output_tokens_details
        told = {
            "input": meters.input_tokens,
            "cached": meters.cache_read_input_tokens,
            "cache_write": meters.cache_creation_input_tokens,
            "output": meters.output_tokens,
            "reasoning": details.thinking_tokens if details else None,
        }
        self._meters.update({name: max(0, value) for name, value in told.items() if value is not None})

    def _usage(self) -> list[ProviderDelta]:
        if not any(self._meters.values()):
            return []
        told = self._meters.get
        written = told("output", 0)
        reasoning = min(told("reasoning", 0), written)
        usage = Usage(
            input=told("input", 0),
            cached=told("cached", 0),
            cache_write=told("cache_write", 0),
            output=written - reasoning,
            reasoning=reasoning,
        )
        return [UsageReport(usage)]
