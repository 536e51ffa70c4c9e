"""A conversation is a tree of messages with an owner and a stored tip; these are the shapes people look at."""

from __future__ import annotations

from typing import Literal

import msgspec

from chatserver.domain.feedback import Verdict
from chatserver.domain.messages import Message
from chatserver.domain.tuning import UNTUNED, Tuning
from chatserver.domain.turns import Turn

TitleSource = Literal["none", "auto", "person"]
TITLE_LIMIT = 200


class Conversation(msgspec.Struct, frozen=True):
    """title_source: `none` until a model or a person gave one; a person's title is never replaced.
    temporary: in no list, found by no search, and erased before long. tuning: what its owner set for it.
    folder_id '': in none."""

    id: str
    owner_id: str
    title: str
    title_source: TitleSource
    tip_id: str | None
    model: str
    pinned: bool
    archived: bool
    created_at: int
    updated_at: int
    branches: int = 1
    temporary: bool = False
    tuning: Tuning = UNTUNED
    folder_id: str = ""
    tags: tuple[str, ...] = ()


class ConversationLine(msgspec.Struct, frozen=True):
    """One line of a list of conversations. branches: how many leaves the tree has."""

    id: str
    title: str
    tip_id: str | None
    updated_at: int
    pinned: bool
    archived: bool
    is_running: bool
    branches: int
    folder_id: str = ""
    tags: tuple[str, ...] = ()


class Deletion(msgspec.Struct, frozen=True):
    """What a delete hid: how many messages, and the id to take it back with. tip_id: where the view goes now."""

    id: str
    conversation_id: str
    count: int
    tip_id: str | None = None


class PathItem(msgspec.Struct, frozen=True):
    """One message of a path, with the ids of all its versions (itself included) in order of creation. verdict: what its
    owner thinks of it, '' when they did not say."""

    message: Message
    versions: tuple[str, ...]
    turn: Turn | None = None
    verdict: Verdict | Literal[""] = ""


class PathView(msgspec.Struct, frozen=True):
    """The end of a branch, oldest first. has_older: more lies above the first item."""

    conversation: Conversation
    tip_id: str | None
    items: tuple[PathItem, ...]
    has_older: bool


class Comparison(msgspec.Struct, frozen=True):
    """Some replies to one question, side by side. kept_id: the one the conversation goes on below, the first when it
    goes on elsewhere; tip_id: where on its branch."""

    question: PathView
    replies: tuple[PathItem, ...]
    kept_id: str | None
    tip_id: str


class Asked(msgspec.Struct, frozen=True):
    """One model that was asked: the reply it writes, and the turn it writes it in."""

    reply_id: str
    turn_id: str
    model: str


class Sent(msgspec.Struct, frozen=True):
    """The ids a request for replies made, the first reply's by name. turn_id None: nothing runs (an edited reply)."""

    conversation_id: str
    turn_id: str | None
    question_id: str | None
    reply_id: str
    replies: tuple[Asked, ...] = ()


class Hit(msgspec.Struct, frozen=True):
    """A place found by search. message_id '' means the title. marks: where the words stand in text, from and to.
    cursor: what asks for the hits after this one."""

    conversation_id: str
    message_id: str
    text: str
    title: str = ""
    at: int = 0
    marks: tuple[tuple[int, int], ...] = ()
    cursor: int = 0


ForkScope = Literal["path", "branches", "all"]
"""What a fork takes along: the branch down to a message, that and all below it, or the whole tree."""


class Origin(msgspec.Struct, frozen=True):
    """The message a conversation was forked at, and the conversation it is of."""

    message_id: str
    conversation_id: str
    title: str


class Difference(msgspec.Struct, frozen=True):
    """Two branches: what they share, root first and its end only, and what each goes on with. shared: how long that is
    in all."""

    shared: int
    last_shared: Message | None
    left: tuple[Message, ...]
    right: tuple[Message, ...]
    left_name: str
    right_name: str


def title_from(text: str) -> str:
    """A first title from a question: its first line, cut at a word near 60 characters."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "").lstrip("#> *-").strip()
    if len(line) <= 60:
        return line
    cut = line[:60]
    space = cut.rfind(" ")
    return (cut[:space] if space > 30 else cut).rstrip(" ,.;:") + "…"
