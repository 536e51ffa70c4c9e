"""What a client of OpenAI's asks for: its request decoded once, and written in our words."""

from __future__ import annotations

from typing import Any

import msgspec

from chatserver import (
    DirectRequest,
    FilePart,
    ImagePart,
    Part,
    PromptMessage,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    ToolSpec,
)
from chatserver_openai_api.failure import Wrong, decode_error

PASSED_ON = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "frequency_penalty",
    "presence_penalty",
    "seed",
    "response_format",
    "reasoning_effort",
    "verbosity",
    "tool_choice",
    "parallel_tool_calls",
    "logit_bias",
)
"""Parameters that mean the same here as there."""
TOOLS_MAX = 128


class ImageURL(msgspec.Struct):
    url: str
    detail: str | None = None


class Piece(msgspec.Struct):
    """A part of a message's content."""

    type: str
    text: str | None = None
    image_url: ImageURL | str | None = None
    refusal: str | None = None


class CalledFunction(msgspec.Struct):
    name: str
    arguments: str = "{}"


class Called(msgspec.Struct):
    id: str
    function: CalledFunction
    type: str = "function"
    signature: str = ""


class Said(msgspec.Struct):
    role: str
    content: str | list[Piece] | None = None
    tool_calls: list[Called] | None = None
    tool_call_id: str | None = None
    name: str | None = None


class Function(msgspec.Struct):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Tool(msgspec.Struct):
    type: str = "function"
    function: Function | None = None


class StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class Asked(msgspec.Struct):
    """The body of a request for a completion. Fields nobody here knows are passed over."""

    model: str
    messages: list[Said]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stop: str | list[str] | None = None
    tools: list[Tool] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    response_format: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    modalities: list[str] | None = None
    functions: msgspec.Raw | None = None

    @property
    def wants_usage(self) -> bool:
        return self.stream_options is not None and bool(self.stream_options.include_usage)


_decode = msgspec.json.Decoder(Asked).decode


def read_question(body: bytes) -> Asked:
    """Raises Wrong with the field that cannot be taken."""
    try:
        asked = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise decode_error(error) if isinstance(error, msgspec.MsgspecError) else Wrong("This is not UTF-8.") from None
    if asked.n not in (None, 1):
        raise Wrong("One answer a request: `n` must be 1. Ask several times instead.", "n")
    if not asked.messages:
        raise Wrong("Send at least one message.", "messages")
    if asked.logprobs:
        raise Wrong("Log probabilities are not served here. Leave `logprobs` out.", "logprobs")
    if asked.functions is not None:
        raise Wrong("`functions` is not served any more. Send `tools`.", "functions")
    if asked.modalities and asked.modalities != ["text"]:
        raise Wrong("Only text is answered here. Leave `modalities` out.", "modalities")
    if asked.tools and len(asked.tools) > TOOLS_MAX:
        raise Wrong(f"At most {TOOLS_MAX} tools a request.", "tools")
    _check_format(asked.response_format)
    bound = asked.max_completion_tokens if asked.max_completion_tokens is not None else asked.max_tokens
    if bound is not None and bound < 1:
        raise Wrong("The answer must be allowed at least one token.", "max_tokens")
    return asked


def _check_format(wanted: dict[str, Any] | None) -> None:
    """What is asked for in a shape goes to whoever answers as it came, so it must be one that they can read."""
    if wanted is None or wanted.get("type") in ("text", "json_object"):
        return
    if wanted.get("type") != "json_schema":
        raise Wrong("An answer is `text`, `json_object` or `json_schema`.", "response_format")
    described = wanted.get("json_schema")
    if not isinstance(described, dict) or not described.get("name") or not isinstance(described.get("schema"), dict):
        raise Wrong("`json_schema` has a `name` and a `schema`, which is an object.", "response_format")


def as_request(asked: Asked) -> DirectRequest:
    """The same in our words."""
    parameters: dict[str, Any] = {}
    for name in PASSED_ON:
        value = getattr(asked, name)
        if value is not None:
            parameters[name] = value
    if asked.stop:
        parameters["stop"] = [asked.stop] if isinstance(asked.stop, str) else asked.stop
    bound = asked.max_completion_tokens if asked.max_completion_tokens is not None else asked.max_tokens
    return DirectRequest(
        "chat",
        asked.model,
        tuple(_message(said, place) for place, said in enumerate(asked.messages)),
        tuple(_tool(tool, place) for place, tool in enumerate(asked.tools or ())),
        parameters,
        max_output=bound or 0,
    )


def _message(said: Said, place: int) -> PromptMessage:
    role, content = said.role, said.content
    where = f"messages[{place}]"
    if role == "developer":
        role = "system"
    if role == "tool":
        if not said.tool_call_id:
            raise Wrong("A tool's result names its call.", f"{where}.tool_call_id")
        return PromptMessage("tool", (ToolResultPart(said.tool_call_id, _text_of(content, where)),))
    if role not in ("user", "assistant", "system"):
        raise Wrong(f"There is no role {role[:40]!r}.", f"{where}.role")
    parts: list[Part] = []
    if isinstance(content, str):
        parts.append(TextPart(content))
    else:
        parts.extend(_part(piece, f"{where}.content[{at}]") for at, piece in enumerate(content or ()))
    for call in said.tool_calls or ():
        parts.append(ToolCallPart(call.id, call.function.name, call.function.arguments, call.signature))
    return PromptMessage(role, tuple(parts))  # type: ignore[arg-type]


def _part(piece: Piece, where: str) -> TextPart | ImagePart | FilePart:
    if piece.type == "text" and piece.text is not None:
        return TextPart(piece.text)
    if piece.type == "refusal" and piece.refusal is not None:
        return TextPart(piece.refusal)
    if piece.type == "image_url" and piece.image_url is not None:
        url = piece.image_url if isinstance(piece.image_url, str) else piece.image_url.url
        return read_image(url, where)
    raise Wrong(f"Content of the type {piece.type[:40]!r} is not taken here.", where)


def read_image(url: str, where: str) -> ImagePart:
    """A picture inside the request: nobody here fetches what somebody names."""
    if not url.startswith("data:image/") or ";base64," not in url[:64]:
        raise Wrong("Send the picture itself, as data:image/…;base64,… : nothing is fetched from elsewhere.", where)
    return ImagePart(media_type=url[5 : url.index(";")], url=url)


def _text_of(content: str | list[Piece] | None, where: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    parts = [_part(piece, f"{where}.content") for piece in content]
    return "".join(part.text for part in parts if isinstance(part, TextPart))


def _tool(tool: Tool, place: int) -> ToolSpec:
    if tool.type != "function" or tool.function is None:
        raise Wrong("Only tools of the type function are taken.", f"tools[{place}]")
    asked = tool.function
    return ToolSpec(asked.name, asked.description or "", asked.parameters or {"type": "object", "properties": {}})
