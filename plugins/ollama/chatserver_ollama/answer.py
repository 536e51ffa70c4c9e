"""What an answer says: each line is a piece of it, and the last one counts."""

from __future__ import annotations

from typing import Any

import msgspec

from chatserver import (
    Channel,
    Finish,
    ProviderDelta,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageReport,
    clock,
)
from chatserver.upstreams import failure, kind_of, read_error_object, unreadable

MAX_TOOL_CALLS = 128


class Function(msgspec.Struct):
    name: str = ""
    arguments: Any = None


class ToolCall(msgspec.Struct):
    id: str | None = None
    function: Function | None = None


class Said(msgspec.Struct):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[ToolCall] | None = None


class Line(msgspec.Struct):
    """One line of a stream, or a whole answer: they have one form."""

    message: Said | None = None
    done: bool = False
    done_reason: str = ""
    prompt_eval_count: int | None = None
    eval_count: int | None = None
    error: Any = None


decode_line = msgspec.json.Decoder(Line, strict=False).decode


class Answer:
    """Implements `chatserver.upstreams.Answer`. secrets: what an error may not repeat. prompt_tokens: our own count,
    for a question Ollama had read before and so does not count."""

    def __init__(self, channel: Channel, secrets: tuple[str, ...], prompt_tokens: int) -> None:
        self._channel = channel
        self._secrets = secrets
        self._prompt_tokens = prompt_tokens
        self._calls = 0
        self._usage: Usage | None = None
        self.finish = ""

    def take(self, event: bytes, deltas: list[ProviderDelta]) -> bool:
        try:
            line = decode_line(event)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise unreadable(self._channel.name, kind_of(event)) from None
        return self._take(line, deltas)

    def take_last(self, event: bytes, deltas: list[ProviderDelta]) -> bool:
        """The line the body ended in: half of one means the answer was cut, but a page is a page."""
        try:
            line = decode_line(event)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            if event.startswith(b"<"):
                raise unreadable(self._channel.name, kind_of(event)) from None
            return False
        return self._take(line, deltas)

    def take_whole(self, body: bytes, deltas: list[ProviderDelta]) -> None:
        self.take(body, deltas)

    def close(self) -> list[ProviderDelta]:
        report: list[ProviderDelta] = [] if self._usage is None else [UsageReport(self._usage)]
        reason = "length" if self.finish == "length" else "stop"
        return [*report, Finish("tool_calls" if self._calls and reason == "stop" else reason)]

    def _take(self, line: Line, deltas: list[ProviderDelta]) -> bool:
        if line.error:
            raise failure(self._channel.name, 500, read_error_object({"error": line.error}), secrets=self._secrets)
        if line.message is not None:
            if line.message.thinking:
                deltas.append(ReasoningDelta(line.message.thinking))
            if line.message.content:
                deltas.append(TextDelta(line.message.content))
            for call in line.message.tool_calls or ():
                self._call(call, deltas)
        if line.done:
            self.finish = line.done_reason or "stop"
            self._count(line)
        return line.done

    def _call(self, call: ToolCall, deltas: list[ProviderDelta]) -> None:
        if call.function is None or self._calls >= MAX_TOOL_CALLS:
            return
        told = call.function.arguments
        arguments = told if isinstance(told, str) else msgspec.json.encode(told or {}).decode()
        # Older ones name none, and within a chat no two may be the same.
        deltas.append(ToolCallDelta(call.id or f"call_{clock.new_id()}", call.function.name, arguments))
        self._calls += 1

    def _count(self, line: Line) -> None:
        if line.prompt_eval_count:
            self._usage = Usage(input=line.prompt_eval_count, output=max(0, line.eval_count or 0))
        elif line.eval_count:
            self._usage = Usage(input=self._prompt_tokens, output=line.eval_count, estimated=True)
