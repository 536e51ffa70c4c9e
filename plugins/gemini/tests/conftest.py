"""The fake upstream speaking the Gemini API, in the shapes of the vendor's reference."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from chatserver.testing.upstream import Dialect, FakeUpstream, Question, Script

_encode = msgspec.json.Encoder().encode
FINISH = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP", "content_filter": "SAFETY"}
NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}


class GeminiScript(Script):
    def chunk(self, parts: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        candidate = {"content": {"parts": parts, "role": "model"}, "index": 0, **more}
        chunk: dict[str, Any] = {"candidates": [candidate], "modelVersion": self.model, "responseId": "r1"}
        if "nousage" not in self.options:
            chunk["usageMetadata"] = self.meters(self.total if "finishReason" in more else 0)
        return chunk

    def meters(self, total: int) -> dict[str, Any]:
        meters = {"promptTokenCount": self.prompt_tokens, "totalTokenCount": self.prompt_tokens + total}
        if cached := min(self.options.get("cached", 0), self.prompt_tokens):
            meters["cachedContentTokenCount"] = cached
        if total:
            meters["candidatesTokenCount"] = total - self.thoughts
        if self.thoughts:
            meters["thoughtsTokenCount"] = self.thoughts
        return meters

    def opening(self) -> bytes:
        return b""

    def token_event(self, index: int) -> bytes:
        part: dict[str, Any] = {"text": self.token(index)}
        if index < self.thoughts:
            part["thought"] = True
        return self.raw(f"data: {_encode(self.chunk([part])).decode()}")

    def calls(self) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = [
            {"functionCall": {"id": ask.id, "name": ask.name, "args": msgspec.json.decode(ask.arguments)}}
            for ask in self.asks
        ]
        return calls

    def closing(self) -> bytes:
        finish = {} if "nofinish" in self.options else {"finishReason": FINISH[self.reason()]}
        parts = self.calls() or [{"text": ""}]
        return self.raw(f"data: {_encode(self.chunk(parts, **finish)).decode()}")

    def oops(self) -> bytes:
        error = {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}
        return self.raw(f"data: {_encode({'error': error}).decode()}")

    def whole(self) -> bytes:
        parts: list[dict[str, Any]] = []
        if self.thoughts:
            thoughts = "".join(self.token(index) for index in range(self.thoughts))
            parts.append({"text": thoughts, "thought": True})
        parts.append({"text": "".join(self.token(index) for index in range(self.thoughts, self.total))})
        return _encode(self.chunk([*parts, *self.calls()], finishReason=FINISH[self.reason()]))


class GeminiDialect(Dialect):
    @property
    def script(self) -> type[Script]:
        return GeminiScript

    def key(self, headers: dict[str, str]) -> str:
        return headers.get("x-goog-api-key", "")

    def is_chat(self, method: str, path: str) -> bool:
        return method == "POST" and path.lower().endswith("generatecontent")

    def question(self, path: str, body: dict[str, Any]) -> Question:
        model, _, method = path.rpartition("/")[2].partition(":")
        texts = ["".join(part.get("text", "") for part in content["parts"]) for content in body["contents"]]
        limit = body.get("generationConfig", {}).get("maxOutputTokens", 0)
        return Question(model, texts, body["contents"], method.startswith("stream"), True, limit)

    def models(self, models: list[dict[str, Any]]) -> dict[str, Any]:
        methods = ["generateContent", "countTokens"]
        return {"models": [{"name": f"models/{m['id']}", "supportedGenerationMethods": methods} for m in models]}

    def error(self, status: int, code: str, message: str) -> dict[str, Any]:
        if code == "context_length_exceeded":
            message = "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."
        return {"error": {"code": status, "message": message, "status": NAMES.get(status, "UNKNOWN")}}


@pytest.fixture
def fake_upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream.in_thread(dialect=GeminiDialect()) as upstream:
        yield upstream
