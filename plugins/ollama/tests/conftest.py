"""The fake upstream speaking Ollama's API, in the shapes of its documentation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from chatserver.testing.upstream import Dialect, FakeUpstream, Question, Script

_encode = msgspec.json.Encoder().encode


class OllamaScript(Script):
    media_type = "application/x-ndjson"

    def line(self, **more: Any) -> bytes:
        return _encode({"model": self.model, "created_at": "2026-01-01T00:00:00.1Z", **more}) + b"\n"

    def opening(self) -> bytes:
        return b""

    def token_event(self, index: int) -> bytes:
        message: dict[str, Any] = {"role": "assistant", "content": ""}
        message["thinking" if index < self.thoughts else "content"] = self.token(index)
        return self.line(message=message, done=False)

    def calls(self) -> list[dict[str, Any]]:
        return [
            {"id": ask.id, "function": {"name": ask.name, "arguments": msgspec.json.decode(ask.arguments)}}
            for ask in self.asks
        ]

    def last(self, **message: Any) -> bytes:
        told: dict[str, Any] = {"message": {"role": "assistant", "content": "", **message}, "done": True}
        told["done_reason"] = "length" if self.reason() == "length" else "stop"
        if "nousage" not in self.options:
            told |= {"total_duration": 1, "prompt_eval_count": self.prompt_tokens, "eval_count": self.total}
        return self.line(**told)

    def closing(self) -> bytes:
        message = {"role": "assistant", "content": "", "tool_calls": self.calls()}
        called = self.line(message=message, done=False) if self.asks else b""
        return called if "nofinish" in self.options else called + self.last()

    def oops(self) -> bytes:
        return _encode({"error": "llama runner process has terminated: exit status 2"}) + b"\n"

    def whole(self) -> bytes:
        message: dict[str, Any] = {
            "content": "".join(self.token(index) for index in range(self.thoughts, self.total)),
        }
        if self.thoughts:
            message["thinking"] = "".join(self.token(index) for index in range(self.thoughts))
        if self.asks:
            message["tool_calls"] = self.calls()
        return self.last(**message).strip()


class OllamaDialect(Dialect):
    @property
    def script(self) -> type[Script]:
        return OllamaScript

    def is_chat(self, method: str, path: str) -> bool:
        return method == "POST" and path == "/api/chat"

    def is_list(self, method: str, path: str) -> bool:
        return path == "/api/tags"

    def question(self, path: str, body: dict[str, Any]) -> Question:
        texts = [message["content"] for message in body["messages"]]
        limit = body.get("options", {}).get("num_predict", 0)
        return Question(body["model"], texts, body["messages"], body["stream"], True, limit)

    def models(self, models: list[dict[str, Any]]) -> dict[str, Any]:
        details = {"family": "qwen3", "parameter_size": "8.2B", "quantization_level": "Q4_K_M"}
        return {
            "models": [
                {"name": one["id"], "model": one["id"], "size": 5_225_388_164, "digest": one["id"], "details": details}
                for one in models
            ]
        }

    def error(self, status: int, code: str, message: str) -> dict[str, Any]:
        if code == "context_length_exceeded":
            message = "the input length exceeds the context length"
        return {"error": message}


@pytest.fixture
def fake_upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream.in_thread(dialect=OllamaDialect()) as upstream:
        yield upstream
