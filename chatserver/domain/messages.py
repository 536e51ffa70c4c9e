"""A message is one node of the tree: inserted once, sealed once, never changed after."""

from __future__ import annotations

from typing import Literal

import msgspec

Role = Literal["user", "assistant", "system", "tool"]
MessageState = Literal["running", "done", "stopped", "interrupted", "failed"]


class TextPart(msgspec.Struct, frozen=True, tag="text", tag_field="type"):
    text: str


class ReasoningPart(msgspec.Struct, frozen=True, tag="reasoning", tag_field="type", omit_defaults=True):
    text: str
    duration_ms: int = 0


class ImagePart(msgspec.Struct, frozen=True, tag="image", tag_field="type", omit_defaults=True):
    """A picture. Stored by `file_id`; in a prompt `url` holds it as a data: URL. alt: its name, or what it shows."""

    file_id: str = ""
    media_type: str = ""
    url: str = ""
    alt: str = ""
    width: int = 0
    height: int = 0


class FilePart(msgspec.Struct, frozen=True, tag="file", tag_field="type", omit_defaults=True):
    """A file. Stored by `file_id`; in a prompt `text` holds what a model may read of it, '' when that is nothing.
    tokens: what the text costs, by our own count."""

    file_id: str
    name: str = ""
    media_type: str = ""
    size_bytes: int = 0
    text: str = ""
    tokens: int = 0


class ToolCallPart(msgspec.Struct, frozen=True, tag="tool_call", tag_field="type", omit_defaults=True):
    """`arguments` is the JSON text as the model wrote it, whole. signature: what its provider wants to see again with
    the call, in its own form, behind its name and a colon; of no meaning to anybody else."""

    call_id: str
    name: str
    arguments: str
    signature: str = ""


class ToolResultPart(msgspec.Struct, frozen=True, tag="tool_result", tag_field="type", omit_defaults=True):
    call_id: str
    text: str
    is_error: bool = False


class CitationPart(msgspec.Struct, frozen=True, tag="citation", tag_field="type", omit_defaults=True):
    """A passage a reply was given. source: its title; page: from 1, 0 for none; place: a heading. number: what the
    reply names it by, 0 for nothing. id: its name with the plugin that brought it. url: where it can be read. text:
    what it says, in a prompt only."""

    source: str
    text: str = ""
    url: str = ""
    number: int = 0
    id: str = ""
    page: int = 0
    place: str = ""


class ArtifactPart(msgspec.Struct, frozen=True, tag="artifact", tag_field="type", omit_defaults=True):
    artifact_id: str
    kind: str
    title: str = ""
    text: str = ""


Part = TextPart | ReasoningPart | ImagePart | FilePart | ToolCallPart | ToolResultPart | CitationPart | ArtifactPart
Parts = tuple[Part, ...]

encode_parts = msgspec.json.Encoder().encode
decode_parts = msgspec.json.Decoder(Parts).decode


class Message(msgspec.Struct, frozen=True):
    """One node. `state` of anything but a reply is `done`. Times in microseconds UTC.

    continues: shown joined to its parent, and merged with it in prompts. cleared_after: a clear-context marker
    stands below this message on its branch.
    """

    id: str
    conversation_id: str
    parent_id: str | None
    role: Role
    state: MessageState
    parts: Parts
    model: str
    created_at: int
    continues: bool = False
    cleared_after: bool = False


def text_of(parts: Parts) -> str:
    """The visible text of a message: its text parts joined, reasoning and tool traffic left out."""
    return "".join(part.text for part in parts if isinstance(part, TextPart))


def words_of(parts: Parts) -> str:
    """What a message is found by and may be called after: its text, then the names of its files, a line each."""
    names = [p.name if isinstance(p, FilePart) else p.alt for p in parts if isinstance(p, FilePart | ImagePart)]
    return "\n".join(filter(None, (text_of(parts), *names)))


def reasoning_of(parts: Parts) -> str:
    return "".join(part.text for part in parts if isinstance(part, ReasoningPart))
