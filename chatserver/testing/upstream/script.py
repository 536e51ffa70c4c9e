"""What one answer of a fake upstream will say, in the common format."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from chatserver.testing.upstream.orders import ToolAsk
from chatserver.testing.upstream.seen import now_ns

_WIDE = ("é ", "漢字", "🌳 ", "ß", "🇨🇭 ", "日本語 ")
_encode = msgspec.json.Encoder().encode


class Question(NamedTuple):
    """What a fake upstream makes of a chat request, whatever its format. limit: tokens the answer may have, 0: any."""

    model: str
    texts: list[str]
    messages: Sequence[Any]
    is_stream: bool
    wants_usage: bool
    limit: int


class Script:
    """What one answer will say: its tokens, how it ends, and the bytes of each. A dialect has its own `opening`,
    `token_event`, `closing`, `oops` and `whole`."""

    media_type = "text/event-stream"

    def __init__(self, question: Question, options: dict[str, int], answer: str, asks: Sequence[ToolAsk] = ()) -> None:
        self.model = model = question.model
        self.asks = asks
        self.options = options
        self.words = re.findall(r"\s*\S+|\s+$", answer)
        self.thoughts = options.get("think", 0) or options.get("thought", 0)
        count = len(self.words) if answer else options.get("n", 20)
        limit = question.limit
        self.is_bounded = bool(limit) and count > limit
        self.count = min(count, limit) if limit else count
        self.total = self.count + self.thoughts
        self.wants_usage = question.wants_usage and "nousage" not in options
        self.prompt_tokens = sum(len(text) for text in question.texts) // 4 + 1
        self.thought_field = "reasoning" if "thought" in options else "reasoning_content"
        self.line_end = "\r\n" if "crlf" in options else "\n"
        self._padding = options.get("pad", 0)
        self._is_stamped = "stamp" in options
        self._is_wide = "unicode" in options
        base = _encode({"id": "fake-1", "object": "chat.completion.chunk", "created": 1, "model": model})
        self._base = b"data: " + base[:-1] + b',"choices":'
        self._ending = (self.line_end * 2).encode()
        self._text_base = self._base + b'[{"index":0,"finish_reason":null,"delta":{"content":'
        self._thought_base = (
            self._base + b'[{"index":0,"finish_reason":null,"delta":{"' + self.thought_field.encode() + b'":'
        )
        self._close = b"}}]}" + self._ending

    def token(self, index: int) -> str:
        if self._is_stamped:
            word = f"@{now_ns()}@ "
        elif self.words and index >= self.thoughts:
            return str(self.words[index - self.thoughts])
        elif self._is_wide:
            word = _WIDE[index % len(_WIDE)]
        else:
            word = f"t{index} "
        return word.ljust(self._padding, "x") if self._padding else word

    def token_event(self, index: int) -> bytes:
        base = self._thought_base if index < self.thoughts else self._text_base
        return base + _encode(self.token(index)) + self._close

    def event(self, choices: list[dict[str, Any]], usage: dict[str, Any] | None = None) -> bytes:
        tail = b',"usage":' + _encode(usage) if usage else b""
        return self._base + _encode(choices) + tail + b"}" + self._ending

    def raw(self, text: str) -> bytes:
        return text.encode() + self._ending

    def reason(self) -> str:
        options = self.options
        if self.asks:
            return "tool_calls"
        if "length" in options or self.is_bounded:
            return "length"
        return "content_filter" if "filter" in options else "stop"

    def usage(self) -> dict[str, Any]:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.total,
            "total_tokens": self.prompt_tokens + self.total,
            "prompt_tokens_details": {"cached_tokens": min(self.options.get("cached", 0), self.prompt_tokens)},
            "completion_tokens_details": {"reasoning_tokens": self.thoughts},
        }

    def opening(self) -> bytes:
        return self.event([{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}])

    def tool_calls(self) -> list[dict[str, Any]]:
        return [
            {"id": ask.id, "type": "function", "function": {"name": ask.name, "arguments": ask.arguments}}
            for ask in self.asks
        ]

    def closing(self) -> bytes:
        """The last events: tool calls in three pieces each, the reason, usage, [DONE]; as the options allow."""
        out = []
        for index, whole in enumerate(self.tool_calls()):
            name, text = whole["function"]["name"], whole["function"]["arguments"]
            first = {**whole, "index": index, "function": {"name": name, "arguments": ""}}
            halves = (text[:6], text[6:])
            pieces = [first, *({"index": index, "function": {"arguments": half}} for half in halves)]
            out += [self.event([{"index": 0, "delta": {"tool_calls": [piece]}}]) for piece in pieces]
        if "nofinish" not in self.options:
            out.append(self.event([{"index": 0, "delta": {}, "finish_reason": self.reason()}]))
        if self.wants_usage:
            out.append(self.event([], self.usage()))
        if "nodone" not in self.options:
            out.append(self.raw("data: [DONE]"))
        return b"".join(out)

    def oops(self) -> bytes:
        """An error in the middle of the answer."""
        error = {"error": {"message": "The fake upstream broke.", "type": "server_error", "code": 500}}
        return self.raw("data: " + _encode(error).decode())

    def whole(self) -> bytes:
        message: dict[str, Any] = {
            "role": "assistant",
            "content": "".join(self.token(index) for index in range(self.thoughts, self.total)),
        }
        if self.thoughts:
            message[self.thought_field] = "".join(f"t{index} " for index in range(self.thoughts))
        if self.asks:
            message["tool_calls"] = self.tool_calls()
        answer: dict[str, Any] = {
            "id": "fake-1",
            "object": "chat.completion",
            "created": 1,
            "model": self.model,
            "choices": [{"index": 0, "message": message, "finish_reason": self.reason()}],
        }
        if "nousage" not in self.options:
            answer["usage"] = self.usage()
        return _encode(answer)
