"""The protocol's messages: JSON-RPC, whole or as server-sent events, and what tools and their results look like."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from chatserver import ToolOutcome

VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26")
"""Those this plugin speaks, the newest first: the one it asks for. What it uses of them is the same in all."""
EVENT_MAX_BYTES = 4_000_000
DESCRIPTION_CHARS = 2_000
SCHEMA_MAX_BYTES = 32_000


class Failure(msgspec.Struct):
    code: int = 0
    message: str = ""


class Answer(msgspec.Struct):
    """Anything a server sends: an answer to our id, or a request or notification of its own, which has a method."""

    id: int | str | None = None
    result: msgspec.Raw = msgspec.Raw()
    error: Failure | None = None
    method: str = ""


class Annotations(msgspec.Struct, rename="camel"):
    """What a server says of a tool; it may be wrong, and is believed as far as its admin believes the server."""

    read_only_hint: bool | None = None


class RemoteTool(msgspec.Struct, rename="camel"):
    name: str
    description: str | None = None
    input_schema: dict[str, Any] = {}
    annotations: Annotations | None = None

    @property
    def is_read_only(self) -> bool:
        return self.annotations is not None and self.annotations.read_only_hint is True


class ToolPage(msgspec.Struct, rename="camel"):
    tools: list[RemoteTool] = []
    next_cursor: str | None = None


class Resource(msgspec.Struct):
    uri: str = ""
    text: str | None = None


class Content(msgspec.Struct, rename="camel"):
    type: str = ""
    text: str = ""
    mime_type: str | None = None
    uri: str = ""
    name: str = ""
    resource: Resource | None = None


class CallResult(msgspec.Struct, rename="camel"):
    content: list[Content] = []
    structured_content: msgspec.Raw = msgspec.Raw()
    is_error: bool = False


class Greeting(msgspec.Struct, rename="camel"):
    protocol_version: str = ""


encode = msgspec.json.Encoder().encode
decode_answer = msgspec.json.Decoder(Answer).decode
decode_greeting = msgspec.json.Decoder(Greeting).decode
decode_tools = msgspec.json.Decoder(ToolPage).decode
decode_result = msgspec.json.Decoder(CallResult).decode


def request(number: int, method: str, params: dict[str, Any]) -> bytes:
    return encode({"jsonrpc": "2.0", "id": number, "method": method, "params": params})


def notification(method: str, params: dict[str, Any] | None = None) -> bytes:
    return encode({"jsonrpc": "2.0", "method": method, **({"params": params} if params else {})})


class EventReader:
    """Feed bytes that may be cut anywhere, get the data of each event that is complete."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Raises ValueError for an event that does not end."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) + sum(map(len, self._data)) > EVENT_MAX_BYTES:
            raise ValueError("an event that does not end")
        for line in lines:
            line = line.removesuffix(b"\r")
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
            elif not line and self._data:
                yield b"\n".join(self._data)
                self._data = []


def to_outcome(result: CallResult) -> ToolOutcome:
    """What a model reads of a result: texts as they are, of all else what it is."""
    pieces = [piece for piece in (_told(one) for one in result.content) if piece]
    if not pieces and result.structured_content:
        pieces = [bytes(result.structured_content).decode("utf-8", "replace")]
    return ToolOutcome("\n\n".join(pieces) or "(nothing)", result.is_error)


def _told(content: Content) -> str:
    if content.type == "text":
        return content.text
    if content.resource is not None:
        return content.resource.text or f"[{content.resource.uri}]"
    if content.type == "resource_link":
        return f"[{content.name} {content.uri}]"
    return f"[{content.type}, {content.mime_type}]" if content.mime_type else f"[{content.type}]"
