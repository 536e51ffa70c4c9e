"""The fake upstream speaking the Messages API, in the shapes of the vendor's page on streaming."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest

from chatserver.testing.upstream import Dialect, FakeUpstream, Question, Script, text_of

_encode = msgspec.json.Encoder().encode
STOP = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


class MessagesScript(Script):
    def event_of(self, kind: str, **fields: Any) -> bytes:
        event = _encode({"type": kind, **fields})
        return b"event: %b%b" % (kind.encode(), self.line_end.encode()) + self.raw(f"data: {event.decode()}")

    @property
    def has_usage(self) -> bool:
        return "nousage" not in self.options

    def meters(self, output: int) -> dict[str, Any]:
        cached = min(self.options.get("cached", 0), self.prompt_tokens)
        return {
            "input_tokens": self.prompt_tokens - cached,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": cached,
            "output_tokens": output,
        }

    def opening(self) -> bytes:
        message: dict[str, Any] = {"id": "msg_1", "type": "message", "role": "assistant", "model": self.model}
        message |= {"content": [], "stop_reason": None, "stop_sequence": None}
        if self.has_usage:
            message["usage"] = self.meters(1)
        return self.event_of("message_start", message=message) + self.event_of("ping")

    def token_event(self, index: int) -> bytes:
        is_thought = index < self.thoughts
        out = b""
        if index == 0 and is_thought:
            block: dict[str, Any] = {"type": "thinking", "thinking": "", "signature": ""}
            out += self.event_of("content_block_start", index=0, content_block=block)
        if index == self.thoughts:
            if self.thoughts:
                out += self.signature() + self.event_of("content_block_stop", index=0)
            block = {"type": "text", "text": ""}
            out += self.event_of("content_block_start", index=self.text_index, content_block=block)
        kind, name = ("thinking_delta", "thinking") if is_thought else ("text_delta", "text")
        delta = {"type": kind, name: self.token(index)}
        return out + self.event_of("content_block_delta", index=0 if is_thought else self.text_index, delta=delta)

    @property
    def text_index(self) -> int:
        return 1 if self.thoughts else 0

    def signature(self) -> bytes:
        delta = {"type": "signature_delta", "signature": "c2lnbmVk"}
        return self.event_of("content_block_delta", index=0, delta=delta)

    def closing(self) -> bytes:
        out = [self.event_of("content_block_stop", index=self.text_index)]
        for place, ask in enumerate(self.asks, self.text_index + 1):
            block = {"type": "tool_use", "id": ask.id, "name": ask.name, "input": {}}
            out.append(self.event_of("content_block_start", index=place, content_block=block))
            for piece in ("", ask.arguments[:6], ask.arguments[6:]):
                delta = {"type": "input_json_delta", "partial_json": piece}
                out.append(self.event_of("content_block_delta", index=place, delta=delta))
            out.append(self.event_of("content_block_stop", index=place))
        usage: dict[str, Any] = {"output_tokens": self.total}
        if self.thoughts:
            usage["output_tokens_details"] = {"thinking_tokens": self.thoughts}
        ending = {"stop_reason": STOP[self.reason()], "stop_sequence": None}
        fields = {"usage": usage} if self.has_usage else {}
        if "nofinish" not in self.options:
            out.append(self.event_of("message_delta", delta=ending, **fields))
        if "nodone" not in self.options:
            out.append(self.event_of("message_stop"))
        return b"".join(out)

    def oops(self) -> bytes:
        return self.event_of("error", error={"type": "overloaded_error", "message": "Overloaded"})

    def whole(self) -> bytes:
        content: list[dict[str, Any]] = []
        if self.thoughts:
            thoughts = "".join(self.token(index) for index in range(self.thoughts))
            content.append({"type": "thinking", "thinking": thoughts, "signature": "c2lnbmVk"})
        text = "".join(self.token(index) for index in range(self.thoughts, self.total))
        content.append({"type": "text", "text": text})
        for ask in self.asks:
            arguments = msgspec.json.decode(ask.arguments)
            content.append({"type": "tool_use", "id": ask.id, "name": ask.name, "input": arguments})
        answer = {"id": "msg_1", "type": "message", "role": "assistant", "model": self.model, "content": content}
        answer |= {"stop_reason": STOP[self.reason()], "stop_sequence": None}
        if self.has_usage:
            answer["usage"] = self.meters(self.total)
        return _encode(answer)


class MessagesDialect(Dialect):
    @property
    def script(self) -> type[Script]:
        return MessagesScript

    def key(self, headers: dict[str, str]) -> str:
        return headers.get("x-api-key", "")

    def is_chat(self, method: str, path: str) -> bool:
        return method == "POST" and path.endswith("/v1/messages")

    def question(self, path: str, body: dict[str, Any]) -> Question:
        messages = body["messages"]
        texts = [text_of(message) for message in messages]
        return Question(body["model"], texts, messages, bool(body.get("stream")), True, body["max_tokens"])

    def round_of(self, messages: Sequence[Any]) -> int:
        number = 0
        for message in messages:
            kinds = {block["type"] for block in message["content"]}
            number = 0 if message["role"] == "user" and "text" in kinds else number + ("tool_use" in kinds)
        return number

    def models(self, models: list[dict[str, Any]]) -> dict[str, Any]:
        data = [{"type": "model", "display_name": "", "created_at": "2026-02-04T00:00:00Z", **one} for one in models]
        return {"data": data, "has_more": False, "first_id": models[0]["id"], "last_id": models[-1]["id"]}

    def error(self, status: int, code: str, message: str) -> dict[str, Any]:
        kind = KINDS.get(status, "api_error")
        if code == "context_length_exceeded":
            message = "prompt is too long: 213462 tokens > 200000 maximum"
        return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


@pytest.fixture
def fake_upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream.in_thread(dialect=MessagesDialect()) as upstream:
        yield upstream
