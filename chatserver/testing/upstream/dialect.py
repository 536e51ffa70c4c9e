"""How a fake upstream reads requests: in the common format, or in that of a subclass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chatserver.testing.upstream.script import Question, Script


class Dialect:
    """How requests are read and answers written: here the common format. Another vendor's is a subclass of this and of
    `Script`, in the tests of the plugin that speaks it."""

    @property
    def script(self) -> type[Script]:
        return Script

    def key(self, headers: dict[str, str]) -> str:
        return headers.get("authorization", "").removeprefix("Bearer ")

    def is_chat(self, method: str, path: str) -> bool:
        return method == "POST" and path.endswith("/chat/completions")

    def is_list(self, method: str, path: str) -> bool:
        return path.endswith("/models")

    def question(self, path: str, body: dict[str, Any]) -> Question:
        messages = [message for message in body.get("messages", ()) if isinstance(message, dict)]
        return Question(
            str(body.get("model", "")),
            [text_of(message) for message in messages],
            messages,
            bool(body.get("stream")),
            bool((body.get("stream_options") or {}).get("include_usage")),
            body.get("max_completion_tokens") or body.get("max_tokens") or 0,
        )

    def round_of(self, messages: Sequence[Any]) -> int:
        """How often tools were called since the last question."""
        number = 0
        for message in messages:
            if isinstance(message, dict):
                number = 0 if message.get("role") == "user" else number + bool(message.get("tool_calls"))
        return number

    def models(self, models: list[dict[str, Any]]) -> dict[str, Any]:
        return {"object": "list", "data": models}

    def error(self, status: int, code: str, message: str) -> dict[str, Any]:
        return {"error": {"message": message, "type": code, "code": code}}


def text_of(message: dict[str, Any]) -> str:
    """The text of one message of a request, whichever of the two forms its content has."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")
