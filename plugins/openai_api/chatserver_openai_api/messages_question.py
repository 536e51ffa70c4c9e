"""What a client of Anthropic's asks for: its request decoded once, and written in our words."""

from __future__ import annotations

from typing import Any

import msgspec

from chatserver import (
    DirectRequest,
    ImagePart,
    Part,
    PromptMessage,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    ToolSpec,
)
from chatserver_openai_api.failure import Wrong, decode_error
from chatserver_openai_api.question import TOOLS_MAX

EFFORTS = ((2_048, "low"), (8_192, "medium"))
"""A budget of thought in tokens, as the effort other vendors know; above, high."""
_encode = msgspec.json.Encoder().encode


class Source(msgspec.Struct):
    type: str
    media_type: str = ""
    data: str = ""


class Block(msgspec.Struct):
    """A piece of content, of any kind; each kind has some of the fields."""

    type: str
    text: str = ""
    thinking: str = ""
    source: Source | None = None
    id: str = ""
    name: str = ""
    input: dict[str, Any] = {}
    tool_use_id: str = ""
    content: str | list[Block] | None = None
    is_error: bool = False
    signature: str = ""


class Said(msgspec.Struct):
    role: str
    content: str | list[Block]


class Tool(msgspec.Struct):
    name: str
    description: str = ""
    input_schema: dict[str, Any] | None = None
    type: str | None = None


class ToolChoice(msgspec.Struct):
    type: str
    name: str = ""
    disable_parallel_tool_use: bool = False


class Thinking(msgspec.Struct):
    type: str
    budget_tokens: int = 0


class OutputFormat(msgspec.Struct):
    """How the answer is to look; `json_schema` is the only type there is."""

    type: str
    schema: dict[str, Any] | None = None


class OutputConfig(msgspec.Struct):
    effort: str | None = None
    format: OutputFormat | None = None


class Counted(msgspec.Struct):
    """The body of a question that is only to be counted."""

    model: str
    messages: list[Said]
    system: str | list[Block] | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    output_format: OutputFormat | None = None


class Asked(Counted, kw_only=True):
    """The body of a request for a message. Fields nobody here knows are passed over."""

    max_tokens: int
    stream: bool = False
    stop_sequences: list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None


_decode = msgspec.json.Decoder(Asked).decode
_decode_counted = msgspec.json.Decoder(Counted).decode


def read_question(body: bytes) -> Asked:
    """Raises Wrong with the field that cannot be taken."""
    try:
        asked = _decode(body)
    except msgspec.MsgspecError as error:
        raise decode_error(error) from None
    if asked.max_tokens < 1:
        raise Wrong("max_tokens: the answer must be allowed at least one token.", "max_tokens")
    return asked


def read_counted(body: bytes) -> Counted:
    try:
        return _decode_counted(body)
    except msgspec.MsgspecError as error:
        raise decode_error(error) from None


def as_request(asked: Counted) -> DirectRequest:
    """The same in our words."""
    if not asked.messages:
        raise Wrong("messages: send at least one.", "messages")
    if asked.tools and len(asked.tools) > TOOLS_MAX:
        raise Wrong(f"tools: at most {TOOLS_MAX} a request.", "tools")
    messages = []
    if asked.system:
        text = asked.system if isinstance(asked.system, str) else _text_of(asked.system, "system")
        messages.append(PromptMessage("system", (TextPart(text),)))
    messages.extend(_message(said, f"messages.{place}") for place, said in enumerate(asked.messages))
    return DirectRequest(
        "chat",
        asked.model,
        tuple(messages),
        tuple(_tool(tool, place) for place, tool in enumerate(asked.tools or ())),
        _parameters(asked),
        max_output=asked.max_tokens if isinstance(asked, Asked) else 0,
    )


def _parameters(asked: Counted) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    if isinstance(asked, Asked):
        for name in ("temperature", "top_p", "top_k"):
            value = getattr(asked, name)
            if value is not None:
                parameters[name] = value
        if asked.stop_sequences:
            parameters["stop"] = asked.stop_sequences
    if effort := _effort(asked):
        parameters["reasoning_effort"] = effort
    if (wanted := _format(asked)) is not None:
        described = {"name": "answer", "schema": wanted}
        parameters["response_format"] = {"type": "json_schema", "json_schema": described}
    if asked.tool_choice is not None:
        parameters["tool_choice"] = _choice(asked.tool_choice)
        if asked.tool_choice.disable_parallel_tool_use:
            parameters["parallel_tool_calls"] = False
    return parameters


def _effort(asked: Counted) -> str:
    """How much thought is wanted: as a word, or as a budget of tokens; '' when nothing was said. A thought that is
    `adaptive` is the model's own affair."""
    told = (asked.output_config and asked.output_config.effort) or ""
    if told:
        return "high" if told in ("xhigh", "max") else told
    if asked.thinking is not None and asked.thinking.type == "enabled":
        return next((name for most, name in EFFORTS if asked.thinking.budget_tokens <= most), "high")
    return ""


def _format(asked: Counted) -> dict[str, Any] | None:
    """The schema the answer is to keep to. `output_format` is the name it had before."""
    wanted = (asked.output_config and asked.output_config.format) or asked.output_format
    if wanted is None:
        return None
    if wanted.type != "json_schema" or wanted.schema is None:
        raise Wrong("output_config.format: it is a `json_schema` with its `schema`.", "output_config")
    return wanted.schema


def _choice(choice: ToolChoice) -> str | dict[str, Any]:
    if choice.type == "tool":
        return {"type": "function", "function": {"name": choice.name}}
    names = {"auto": "auto", "any": "required", "none": "none"}
    if choice.type not in names:
        raise Wrong(f"tool_choice: there is no type {choice.type[:40]!r}.", "tool_choice")
    return names[choice.type]


def _message(said: Said, where: str) -> PromptMessage:
    if said.role not in ("user", "assistant", "system"):
        raise Wrong(f"{where}.role: there is no role {said.role[:40]!r}.", where)
    if isinstance(said.content, str):
        parts: tuple[Part, ...] = (TextPart(said.content),)
    else:
        made = (_part(block, f"{where}.content.{at}") for at, block in enumerate(said.content))
        parts = tuple(part for part in made if part is not None)
    return PromptMessage(said.role, parts)  # type: ignore[arg-type]


def _part(block: Block, where: str) -> Part | None:
    if block.type == "text":
        return TextPart(block.text)
    if block.type == "thinking":
        return ReasoningPart(block.thinking)
    if block.type == "redacted_thinking":
        return None
    if block.type == "tool_use":
        return ToolCallPart(block.id, block.name, _encode(block.input).decode(), block.signature)
    if block.type == "tool_result":
        content = block.content
        text = content if isinstance(content, str) else _text_of(content or [], where)
        return ToolResultPart(block.tool_use_id, text, block.is_error)
    if block.type == "image" and block.source is not None:
        if block.source.type != "base64":
            raise Wrong(f"{where}: send the picture itself in base64; nothing is fetched from elsewhere.", where)
        media_type = block.source.media_type
        return ImagePart(media_type=media_type, url=f"data:{media_type};base64,{block.source.data}")
    raise Wrong(f"{where}: content of the type {block.type[:40]!r} is not taken here.", where)


def _text_of(blocks: list[Block], where: str) -> str:
    for block in blocks:
        if block.type != "text":
            raise Wrong(f"{where}: only text is taken here, and not {block.type[:40]!r}.", where)
    return "".join(block.text for block in blocks)


def _tool(tool: Tool, place: int) -> ToolSpec:
    if tool.input_schema is None:
        raise Wrong(f"tools.{place}: only tools with an input_schema are taken.", "tools")
    return ToolSpec(tool.name, tool.description, tool.input_schema)
