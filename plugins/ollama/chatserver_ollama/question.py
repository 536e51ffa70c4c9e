"""What is asked: a ChatRequest written for /api/chat."""

from __future__ import annotations

from typing import Any

import msgspec

from chatserver import ChatRequest, ImagePart, PromptMessage, ToolCallPart, ToolResultPart, estimate_tokens
from chatserver.upstreams import output_bound, read_arguments, read_choice, read_format, read_picture, stops_of
from chatserver.upstreams import text_of_part as text_of

DEFAULT_WINDOW_TOKENS = 4_096
"""What Ollama gives a model when nobody asks for more; what does not fit it cuts off in silence."""
WINDOWS = (8_192, 16_384, 32_768, 65_536, 131_072, 262_144, 524_288, 1_048_576)
"""Steps, because each change loads the model anew."""
ANSWER_TOKENS = 2_048
IMAGE_TOKENS = 1_024

_OPTIONS = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "seed",
    "presence_penalty",
    "frequency_penalty",
)


def write_body(request: ChatRequest, *, thinks: bool | None) -> dict[str, Any]:
    """thinks: whether the model does, None when it is not known."""
    parameters = request.parameters
    body: dict[str, Any] = {
        "model": request.model,
        "messages": write_messages(request.messages),
        "stream": request.stream,
    }
    options = {name: parameters[name] for name in _OPTIONS if parameters.get(name) is not None}
    if bound := output_bound(request):
        options["num_predict"] = bound
    if stops := stops_of(parameters):
        options["stop"] = stops
    if options:
        body["options"] = options
    if request.tools and read_choice(parameters).mode != "none":
        body["tools"] = [
            {
                "type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
            }
            for tool in request.tools
        ]
    wanted = read_format(parameters)
    if wanted.kind:
        body["format"] = wanted.schema if wanted.kind == "schema" else "json"
    effort = parameters.get("reasoning_effort")
    if effort and thinks is not False:
        # One family of models takes the degree; the others think or do not.
        body["think"] = effort if "gpt-oss" in request.model else True
    return body


def write_messages(messages: tuple[PromptMessage, ...]) -> list[dict[str, Any]]:
    written: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    for message in messages:
        said: list[str] = []
        images: list[str] = []
        calls: list[dict[str, Any]] = []
        for part in message.parts:
            if isinstance(part, ToolCallPart):
                names[part.call_id] = part.name
                function = {"name": part.name, "arguments": read_arguments(part)}
                calls.append({"id": part.call_id, "function": function})
            elif isinstance(part, ToolResultPart):
                name = names.get(part.call_id, "")
                result = {"role": "tool", "content": part.text, "tool_name": name, "tool_call_id": part.call_id}
                written.append(result)
            elif isinstance(part, ImagePart) and part.url and (picture := read_picture(part.url)):
                images.append(picture.data)
            else:
                said.append(text_of(part))
        content = "".join(said)
        if content or images or calls:
            role = "user" if message.role == "tool" else message.role
            one: dict[str, Any] = {"role": role, "content": content}
            if images:
                one["images"] = images
            if calls:
                one["tool_calls"] = calls
            written.append(one)
    return written


def prompt_tokens(request: ChatRequest) -> int:
    """What a question reads, by our own count."""
    tokens = sum(estimate_tokens(msgspec.json.encode(tool).decode()) for tool in request.tools)
    for message in request.messages:
        for part in message.parts:
            if isinstance(part, ImagePart) and part.url:
                tokens += IMAGE_TOKENS
            elif isinstance(part, ToolCallPart):
                tokens += estimate_tokens(part.arguments)
            elif isinstance(part, ToolResultPart):
                tokens += estimate_tokens(part.text)
            else:
                tokens += estimate_tokens(text_of(part))
    return tokens


def window_for(request: ChatRequest, trained_tokens: int) -> int:
    """The window a question needs, 0 when the usual one will do; never more than the model was trained for."""
    needed = int(prompt_tokens(request) * 1.2) + (output_bound(request) or ANSWER_TOKENS)
    if needed <= DEFAULT_WINDOW_TOKENS or 0 < trained_tokens <= DEFAULT_WINDOW_TOKENS:
        return 0
    step = next((window for window in WINDOWS if window >= needed), WINDOWS[-1])
    return min(step, trained_tokens or step)
