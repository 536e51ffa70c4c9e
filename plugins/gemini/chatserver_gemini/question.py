"""What is asked: a ChatRequest written for generateContent."""

from __future__ import annotations

import re
from typing import Any

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

SIGNED = "gemini:"
UNSIGNED = "skip_thought_signature_validator"
"""What the vendor's page on signatures says to send with a call another model made; newer models want either."""

BUDGETS = {"low": 1_024, "medium": 8_192, "high": 24_576}
"""Tokens of thought, for models before the third generation; later ones take the degree itself."""
GO_ON = "Go on exactly where your last message stops. Do not repeat any of it."
NOTHING = "…"

_GENERATION = re.compile(r"gemini-(\d+)(?:\.(\d+))?")
_OPTIONS = (
    ("temperature", "temperature"),
    ("top_p", "topP"),
    ("top_k", "topK"),
    ("seed", "seed"),
    ("presence_penalty", "presencePenalty"),
    ("frequency_penalty", "frequencyPenalty"),
)


def generation(model: str) -> tuple[int, int]:
    """(2, 5) of gemini-2.5-pro; a name nobody knows, as `gemini-flash-latest`, is taken for the newest; (0, 0) of what
    is no Gemini."""
    match = _GENERATION.search(model)
    if match:
        return int(match[1]), int(match[2] or 0)
    return (99, 0) if "gemini" in model else (0, 0)


def can_think(model: str) -> bool:
    """By its name, for who has not read the list."""
    return generation(model) >= (2, 5) and not re.search(r"image|tts|audio|live|embedding", model)


def write_body(request: ChatRequest, *, thinks: bool) -> dict[str, Any]:
    parameters = request.parameters
    body: dict[str, Any] = {"contents": write_contents(request.messages, generation(request.model) >= (3, 0))}
    system = [text_of_part(part) for one in request.messages if one.role == "system" for part in one.parts]
    if text := "\n\n".join(one for one in system if one.strip()):
        body["systemInstruction"] = {"parts": [{"text": text}]}
    config = _config(request, thinks=thinks)
    if config:
        body["generationConfig"] = config
    if tools := (*request.tools, *stand_ins(request)):
        body["tools"] = [{"functionDeclarations": [_declare(tool) for tool in tools]}]
        mode, name = read_choice(parameters) if request.tools else ("none", "")
        if mode:
            calling = {"mode": {"auto": "AUTO", "none": "NONE"}.get(mode, "ANY")}
            body["toolConfig"] = {
                "functionCallingConfig": {**calling, "allowedFunctionNames": [name]} if name else calling
            }
    return body


def write_contents(messages: tuple[PromptMessage, ...], wants_signatures: bool) -> list[dict[str, Any]]:
    """Theirs take turns and begin and end with the user: neighbours are joined, what a tool gave is the user's."""
    written: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    for message in messages:
        if message.role == "system":
            continue
        names |= {part.call_id: part.name for part in message.parts if isinstance(part, ToolCallPart)}
        if message.role == "assistant":
            role, parts = "model", _model_parts(message.parts, wants_signatures)
        else:
            role, parts = "user", _user_parts(message.parts, names)
        if parts and written and written[-1]["role"] == role:
            written[-1]["parts"] += parts
        elif parts:
            written.append({"role": role, "parts": parts})
    if not written or written[0]["role"] == "model":
        written.insert(0, {"role": "user", "parts": [{"text": NOTHING}]})
    if written[-1]["role"] == "model":
        written.append({"role": "user", "parts": [{"text": GO_ON}]})
    return written


def _user_parts(parts: tuple[Part, ...], names: dict[str, str]) -> list[dict[str, Any]]:
    written: list[dict[str, Any]] = []
    for part in parts:
        if isinstance(part, ToolResultPart):
            result = {"error" if part.is_error else "result": part.text}
            written.append({"functionResponse": {"name": names.get(part.call_id, "tool"), "response": result}})
        elif isinstance(part, ImagePart) and part.url:
            picture = read_picture(part.url)
            if picture is None:
                written.append({"fileData": {"fileUri": part.url}})
            else:
                written.append({"inlineData": {"mimeType": picture.media_type, "data": picture.data}})
        elif (text := text_of_part(part)).strip():
            written.append({"text": text})
    return written


def _model_parts(parts: tuple[Part, ...], wants_signatures: bool) -> list[dict[str, Any]]:
    written: list[dict[str, Any]] = []
    is_first = True
    for part in parts:
        if isinstance(part, ToolCallPart):
            call: dict[str, Any] = {"functionCall": {"name": part.name, "args": read_arguments(part)}}
            if part.signature.startswith(SIGNED):
                call["thoughtSignature"] = part.signature.removeprefix(SIGNED)
            elif is_first and wants_signatures:
                call["thoughtSignature"] = UNSIGNED
            is_first = False
            written.append(call)
        elif (text := text_of_part(part)).strip():
            written.append({"text": text})
    return written


def _config(request: ChatRequest, *, thinks: bool) -> dict[str, Any]:
    parameters = request.parameters
    config = {theirs: parameters[ours] for ours, theirs in _OPTIONS if parameters.get(ours) is not None}
    if bound := output_bound(request):
        config["maxOutputTokens"] = bound
    if stops := stops_of(parameters):
        config["stopSequences"] = stops
    wanted = read_format(parameters)
    if wanted.kind:
        config["responseMimeType"] = "application/json"
    if wanted.kind == "schema":
        config["responseJsonSchema"] = wanted.schema
    if thinks:
        config["thinkingConfig"] = _thinking(request.model, str(parameters.get("reasoning_effort") or ""))
    return config


def _thinking(model: str, effort: str) -> dict[str, Any]:
    told: dict[str, Any] = {"includeThoughts": True}
    if effort in BUDGETS and generation(model) >= (3, 0):
        told["thinkingLevel"] = effort
    elif effort in BUDGETS:
        told["thinkingBudget"] = BUDGETS[effort]
    return told


def _declare(tool: ToolSpec) -> dict[str, Any]:
    declared: dict[str, Any] = {"name": tool.name, "description": tool.description}
    if tool.parameters:
        declared["parametersJsonSchema"] = tool.parameters
    return declared
