"""The lines of an export file: what each holds, in which order they stand, and how they are written."""

from __future__ import annotations

from typing import Literal

import msgspec

from chatserver.domain.conversations import TitleSource
from chatserver.domain.feedback import Feedback
from chatserver.domain.messages import MessageState, Parts, Role
from chatserver.domain.tuning import Tuning

FORMAT = "chatserver-export"
VERSION = 1


ExportFormat = Literal["md", "html", "json"]


class HeaderLine(msgspec.Struct, frozen=True, tag="header", tag_field="type"):
    """The first line. version: of the format; a reader refuses a later one."""

    format: str
    version: int
    program: str
    exported_at: int


class AccountLine(msgspec.Struct, frozen=True, tag="account", tag_field="type"):
    """The conversations up to the next such line are this account's."""

    email: str


class ConversationLine(msgspec.Struct, frozen=True, omit_defaults=True, tag="conversation", tag_field="type"):
    """The messages up to the next such line are its tree. tuning: what its owner set for it. folder: the
    names from the top down."""

    id: str
    title: str
    title_source: TitleSource
    tip_id: str | None
    model: str
    pinned: bool
    archived: bool
    created_at: int
    updated_at: int
    tuning: Tuning | None = None
    folder: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


class MessageLine(msgspec.Struct, frozen=True, omit_defaults=True, tag="message", tag_field="type"):
    """A node, after its parent. cleared_at: when a clear-context marker was set below it; continues: shown joined to
    its parent; feedback: what its owner thinks of it; branch: the name of the branch that begins here."""

    id: str
    parent_id: str | None
    role: Role
    state: MessageState
    model: str
    created_at: int
    parts: msgspec.Raw
    continues: bool = False
    cleared_at: int = 0
    feedback: Feedback | None = None
    branch: str = ""


class FileLine(msgspec.Struct, frozen=True, omit_defaults=True, tag="file", tag_field="type"):
    """A file that messages of the conversation hold, before the first of them; of one that several hold, once. Its
    content follows in `piece` lines. is_lost: it was missing where it should be, and none follow."""

    id: str
    name: str
    media_type: str
    size_bytes: int
    sha256: str
    is_lost: bool = False


class PieceLine(msgspec.Struct, frozen=True, tag="piece", tag_field="type"):
    """Some of the content of the file above, in order; base64."""

    data: bytes


class ChatDocument(msgspec.Struct, frozen=True, tag="chat", tag_field="type"):
    """One conversation as one JSON document, with the same values as the lines hold."""

    format: str
    version: int
    program: str
    exported_at: int
    conversation: ConversationLine
    messages: tuple[MessageLine, ...]


class EndLine(msgspec.Struct, frozen=True, omit_defaults=True, tag="end", tag_field="type"):
    """The last line, with counts; a file without it was cut."""

    accounts: int
    conversations: int
    messages: int
    files: int = 0


Line = HeaderLine | AccountLine | ConversationLine | MessageLine | FileLine | PieceLine | EndLine

_encode = msgspec.json.Encoder().encode
decode_line = msgspec.json.Decoder(Line).decode
decode_chat = msgspec.json.Decoder(ChatDocument).decode
decode_parts = msgspec.json.Decoder(Parts).decode


def encode_line(line: Line) -> bytes:
    return _encode(line) + b"\n"
