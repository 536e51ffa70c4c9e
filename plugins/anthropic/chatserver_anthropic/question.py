"""What is asked: a ChatRequest written for the Messages API."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from chatserver import ChatRequest, ImagePart, Part, PromptMessage, ToolCallPart, ToolResultPart, ToolSpec
from chatserver.upstreams import (
    output_bound,
    read_arguments,
    read_choice,
    read_format,
    read_picture,
    stand_ins,
    stops_of,
    text_of_part,
)
from chatserver_anthropic.facts import Facts
from chatserver_anthropic.signed import Text, unseal

BUDGETS = {"low": 2_048, "medium": 8_192, "high": 16_384}
"""Tokens of thought, where a model wants them bounded."""
MIN_BUDGET_TOKENS = 1_024
MIN_ANSWER_TOKENS = 1_024
"""What is left of a bound for the answer when a model thinks within it."""

GO_ON = "Go on exactly where your last message stops. Do not repeat any of it."
"""Newer models do not finish a message somebody began for them."""
NOTHING = "…"
_ID = re.compile(r"[^a-zA-Z0-9_-]")
_CACHE = {"type": "ephemeral"}
_WITHIN = ("items", "anyOf", "oneOf", "allOf")
_NAMED = ("properties", "$defs", "definitions")
"""Where a schema has schemas within: directly, and by name."""


def write_body(request: ChatRequest, facts: Facts) -> dict[str, Any]:
    parameters = request.parameters
    most = facts.max_output_tokens
    body: dict[str, Any] = {"model": request.model, "max_tokens": min(output_bound(request) or most, most)}
    if request.stream:
        body["stream"] = True
    body["messages"] = write_messages(request.messages)
    if tools := (*request.tools, *stand_ins(request)):
        body["tools"] = [_tool(tool) for tool in tools]
        choice = _choice(parameters) if request.tools else {"type": "none"}
        if choice:
            body["tool_choice"] = choice
    _think(body, request, facts)
    _sample(body, parameters, facts)
    system = [text_of_part(part) for message in request.messages if message.role == "system" for part in message.parts]
    _format(body, parameters, facts, system)
    if text := "\n\n".join(one for one in system if one.strip()):
        body["system"] = text
    if any(message.role == "assistant" for message in request.messages):
        # A chat that goes on is read again from its beginning each time: the cache takes it up to here.
        body["messages"][-1]["content"][-1]["cache_control"] = _CACHE
    return body


def write_messages(messages: tuple[PromptMessage, ...]) -> list[dict[str, Any]]:
    """Theirs take turns and begin and end with the user: neighbours are joined, what a tool gave is the user's."""
    written: list[dict[str, Any]] = []
    now = max((at for at, message in enumerate(messages) if message.role == "user"), default=-1)
    for at, message in enumerate(messages):
        if message.role == "system":
            continue
        role = "assistant" if message.role == "assistant" else "user"
        content = _assistant(message.parts, with_thoughts=at > now) if role == "assistant" else _user(message.parts)
        if content and written and written[-1]["role"] == role:
            written[-1]["content"] += content
        elif content:
            written.append({"role": role, "content": content})
    if not written or written[0]["role"] == "assistant":
        written.insert(0, {"role": "user", "content": [{"type": "text", "text": NOTHING}]})
    if written[-1]["role"] == "assistant":
        written.append({"role": "user", "content": [{"type": "text", "text": GO_ON}]})
    return written


def _user(parts: tuple[Part, ...]) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = []
    for part in parts:
        if isinstance(part, ToolResultPart):
            result: dict[str, Any] = {"type": "tool_result", "tool_use_id": _plain_id(part.call_id)}
            if part.text.strip():
                result["content"] = part.text
            if part.is_error:
                result["is_error"] = True
            content.append(result)
        elif isinstance(part, ImagePart) and part.url:
            content.append({"type": "image", "source": _source(part.url)})
        elif (text := text_of_part(part)).strip():
            content.append({"type": "text", "text": text})
    return content


def _assistant(parts: tuple[Part, ...], *, with_thoughts: bool) -> list[dict[str, Any]]:
    """with_thoughts: of the turn that is going on; those of earlier turns are not asked for."""
    content: list[dict[str, Any]] = []
    said: list[dict[str, Any]] = []
    for part in parts:
        if isinstance(part, ToolCallPart):
            blocks = unseal(part.signature) if with_thoughts else ()
            content += [msgspec.to_builtins(block) for block in blocks]
            if not any(isinstance(block, Text) for block in blocks):
                content += said
            said = []
            content.append(
                {
                    "type": "tool_use",
                    "id": _plain_id(part.call_id),
                    "name": part.name,
                    "input": read_arguments(part),
                }
            )
        elif (text := text_of_part(part)).strip():
            said.append({"type": "text", "text": text})
    return content + said


def _think(body: dict[str, Any], request: ChatRequest, facts: Facts) -> None:
    effort = str(request.parameters.get("reasoning_effort") or "")
    if effort not in BUDGETS or not facts.thinking:
        return
    if facts.has_effort:
        body["output_config"] = {"effort": effort}
    if body.get("tool_choice", {}).get("type") in ("any", "tool"):
        return  # who must call a tool is not let think first
    if facts.thinking == "adaptive":
        body["thinking"] = {"type": "adaptive", "display": "summarized"}
        return
    budget = min(BUDGETS[effort], body["max_tokens"] - MIN_ANSWER_TOKENS)
    if budget >= MIN_BUDGET_TOKENS and _is_signed(request.messages):
        body["thinking"] = {"type": "enabled", "budget_tokens": budget}


def _is_signed(messages: tuple[PromptMessage, ...]) -> bool:
    """A model that is to think wants its thoughts before the calls of this turn; another vendor's calls have none."""
    for message in reversed(messages):
        if message.role == "user":
            return True
        if message.role == "assistant" and any(isinstance(part, ToolCallPart) for part in message.parts):
            return any(isinstance(part, ToolCallPart) and unseal(part.signature) for part in message.parts)
    return True


def _sample(body: dict[str, Any], parameters: dict[str, Any], facts: Facts) -> None:
    if stops := stops_of(parameters):
        body["stop_sequences"] = stops
    if not facts.samples or "thinking" in body:
        return
    temperature = parameters.get("temperature")
    if temperature is not None:
        body["temperature"] = min(float(temperature), 1.0)
    elif parameters.get("top_p") is not None:
        body["top_p"] = parameters["top_p"]
    if parameters.get("top_k") is not None:
        body["top_k"] = parameters["top_k"]


def say_format(body: dict[str, Any], parameters: dict[str, Any]) -> None:
    """In words to the model, after its own means were turned down."""
    body["system"] = "\n\n".join(filter(None, (body.get("system", ""), read_format(parameters).words)))


def _format(body: dict[str, Any], parameters: dict[str, Any], facts: Facts, system: list[str]) -> None:
    """How the answer is to look: by the format's own means, else in words to the model."""
    wanted = read_format(parameters)
    if wanted.kind == "schema" and facts.has_schemas:
        body.setdefault("output_config", {})["format"] = {"type": "json_schema", "schema": _closed(wanted.schema)}
    else:
        system.append(wanted.words)


def _closed(schema: Any) -> Any:
    """The schema with every object that does not say so closed to further properties, as this vendor wants it."""
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(value) if name in _WITHIN else value for name, value in schema.items()}
    for name in _NAMED:
        if isinstance(schema.get(name), dict):
            closed[name] = {key: _closed(value) for key, value in schema[name].items()}
    if schema.get("type") == "object":
        closed.setdefault("additionalProperties", False)
    return closed


def _choice(parameters: dict[str, Any]) -> dict[str, Any]:
    mode, name = read_choice(parameters)
    choice: dict[str, Any] = {}
    if mode == "named":
        choice = {"type": "tool", "name": name}
    elif mode:
        choice = {"type": "any" if mode == "required" else mode}
    if parameters.get("parallel_tool_calls") is False and mode != "none":
        choice = {"type": "auto", **choice, "disable_parallel_tool_use": True}
    return choice


def _tool(tool: ToolSpec) -> dict[str, Any]:
    return {
        "name": tool.name,
        "description": tool.description,
        "input_schema": {"type": "object", **tool.parameters},
    }


def _source(url: str) -> dict[str, Any]:
    picture = read_picture(url)
    if picture is None:
        return {"type": "url", "url": url}
    return {"type": "base64", "media_type": picture.media_type, "data": picture.data}


def _plain_id(call_id: str) -> str:
    return _ID.sub("_", call_id) or "_"
