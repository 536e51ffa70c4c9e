"""What a question is made of, whatever its format: texts, pictures, calls, and what is wanted of the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from chatserver.domain.extend import ChatRequest, ToolSpec
from chatserver.domain.messages import ArtifactPart, FilePart, ImagePart, Part, TextPart, ToolCallPart


class Picture(NamedTuple):
    """A picture that came within its address. data: in base64."""

    media_type: str
    data: str


class ToolChoice(NamedTuple):
    """mode '': nothing was said. named: one tool, by its name."""

    mode: Literal["", "auto", "none", "required", "named"]
    name: str = ""


class Format(NamedTuple):
    """How an answer is to look. schema: of its JSON, empty when any object will do."""

    kind: Literal["", "object", "schema"]
    name: str = ""
    schema: dict[str, Any] = {}

    @property
    def words(self) -> str:
        """The same said to a model whose upstream has no means of its own."""
        if not self.kind:
            return ""
        if self.kind == "object":
            return "Answer with one JSON object and nothing else."
        schema = msgspec.json.encode(self.schema).decode()
        return f"Answer with one JSON object of this schema and nothing else: {schema}"


def text_of_part(part: Part) -> str:
    """What a part says in words; '' for what is no text: calls, results, thoughts, citations."""
    if isinstance(part, (TextPart, ArtifactPart)):
        return part.text
    if isinstance(part, FilePart):
        return f"\n\n[{part.name or 'file'}]\n{part.text}\n" if part.text else ""
    if isinstance(part, ImagePart):
        return f"[{part.alt}]" if part.alt else ""
    return ""


def read_picture(url: str) -> Picture | None:
    """None for a picture that lies elsewhere."""
    if not url.startswith("data:"):
        return None
    head, _, data = url.removeprefix("data:").partition(",")
    return Picture(head.partition(";")[0], data)


def read_arguments(call: ToolCallPart) -> dict[str, Any]:
    """The arguments as an object; what a model wrote instead of one stands under `text`."""
    try:
        told = msgspec.json.decode(call.arguments)
    except msgspec.DecodeError:
        told = None
    return told if isinstance(told, dict) else {"text": call.arguments}


def output_bound(request: ChatRequest) -> int:
    """Tokens the answer may have, 0 for no bound."""
    bounds = (request.max_output, request.parameters.get("max_output") or 0)
    return min((bound for bound in bounds if bound), default=0)


def stops_of(parameters: Mapping[str, Any]) -> list[str]:
    stop = parameters.get("stop") or ()
    return [text for text in ([stop] if isinstance(stop, str) else stop) if str(text).strip()]


def read_choice(parameters: Mapping[str, Any]) -> ToolChoice:
    wanted = parameters.get("tool_choice")
    if isinstance(wanted, dict):
        name = (wanted.get("function") or {}).get("name") or ""
        return ToolChoice("named", name) if name else ToolChoice("")
    return ToolChoice(wanted) if wanted in ("auto", "none", "required") else ToolChoice("")


def read_format(parameters: Mapping[str, Any]) -> Format:
    wanted = parameters.get("response_format")
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind == "json_object":
        return Format("object")
    described = wanted.get("json_schema") if isinstance(wanted, dict) else None
    if kind == "json_schema" and isinstance(described, dict):
        return Format("schema", described.get("name") or "", described.get("schema") or {})
    return Format("")


def stand_ins(request: ChatRequest) -> tuple[ToolSpec, ...]:
    """The tools of earlier calls that are not offered any more: some vendors want every call declared."""
    offered = {tool.name for tool in request.tools}
    parts = (part for message in request.messages for part in message.parts)
    names = {part.name for part in parts if isinstance(part, ToolCallPart)} - offered
    return tuple(ToolSpec(name, "Not at hand any more.", {}) for name in sorted(names))
