"""What is asked: a ChatRequest written in the endpoint's format."""

from __future__ import annotations

from typing import Any

from chatserver import (
    ChatRequest,
    ImagePart,
    Part,
    PromptMessage,
    ToolCallPart,
    ToolResultPart,
)
from chatserver.upstreams import output_bound, text_of_part

PASSED_ON = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "frequency_penalty",
    "presence_penalty",
    "seed",
    "stop",
    "response_format",
    "reasoning_effort",
    "verbosity",
    "tool_choice",
    "parallel_tool_calls",
    "logit_bias",
)
"""Parameters whose common name is the endpoint's own."""


def write_body(request: ChatRequest) -> dict[str, Any]:
    body: dict[str, Any] = {"model": request.model, "messages": write_messages(request.messages)}
    if request.stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    for name in PASSED_ON:
        value = request.parameters.get(name)
        if value is not None:
            body[name] = value
    if bound := output_bound(request):
        body["max_tokens"] = bound
    if request.tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
            }
            for tool in request.tools
        ]
    return body


def write_messages(messages: tuple[PromptMessage, ...]) -> list[dict[str, Any]]:
    """Our messages in the endpoint's form: one of ours that holds tool results becomes several of theirs."""
    written: list[dict[str, Any]] = []
    for message in messages:
        spoken: list[Part] = []
        for part in message.parts:
            if isinstance(part, ToolResultPart):
                _write(written, message.role, spoken)
                spoken = []
                written.append({"role": "tool", "tool_call_id": part.call_id, "content": part.text})
            else:
                spoken.append(part)
        _write(written, message.role, spoken)
    return written


def _write(written: list[dict[str, Any]], role: str, parts: list[Part]) -> None:
    pieces: list[dict[str, Any]] = []
    calls = []
    has_image = False
    for part in parts:
        if isinstance(part, ToolCallPart):
            function = {"name": part.name, "arguments": part.arguments}
            calls.append({"id": part.call_id, "type": "function", "function": function})
        elif isinstance(part, ImagePart) and part.url and role == "user":
            has_image = True
            pieces.append({"type": "image_url", "image_url": {"url": part.url}})
        elif text := text_of_part(part):
            pieces.append({"type": "text", "text": text})
    # One text is sent as a text: not every endpoint reads the list form.
    content: Any = pieces if has_image else "".join(piece["text"] for piece in pieces)
    if role == "assistant" and (calls or content):
        written.append(
            {"role": role, "content": content or None, "tool_calls": calls}
            if calls
            else {"role": role, "content": content}
        )
    elif role in ("user", "system") and (content or role == "user") and parts:
        written.append({"role": role, "content": content})
