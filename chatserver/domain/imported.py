"""Chats as another program kept them: what a format's reader hands over, a whole tree at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import msgspec

from chatserver.domain.feedback import Feedback
from chatserver.domain.messages import MessageState, Parts, Role
from chatserver.domain.tuning import UNTUNED, Tuning


class ImportedMessage(msgspec.Struct, frozen=True):
    """A message as another program kept it; the ids are that program's. Times in microseconds UTC, 0 when not known.

    cleared_at: when a clear-context marker was set below it, 0 for none. feedback: what its owner thought of it.
    branch: the name of the branch that begins here.
    """

    id: str
    parent_id: str | None
    role: Role
    parts: Parts
    created_at: int = 0
    model: str = ""
    state: MessageState = "done"
    continues: bool = False
    cleared_at: int = 0
    feedback: Feedback | None = None
    branch: str = ""


class ImportedFile(msgspec.Struct, frozen=True):
    """A file that messages of a tree hold, by its id there. path: a file with its content, there until the next
    conversation is asked for; or content: what a document holds of it itself."""

    id: str
    name: str
    path: str = ""
    content: bytes = b""


class ImportedConversation(msgspec.Struct, frozen=True):
    """A whole tree as another program kept it. notes: what of it was not taken, a short sentence each. tuning: its
    system prompt and parameters. folder: the names from the top down, at most two.

    Every parent_id is the id of a message in it, in any order. tip_id None, or not of it: its newest leaf.
    """

    id: str
    title: str
    messages: tuple[ImportedMessage, ...]
    title_source: Literal["none", "auto", "person"] = "auto"
    created_at: int = 0
    updated_at: int = 0
    tip_id: str | None = None
    model: str = ""
    pinned: bool = False
    archived: bool = False
    notes: tuple[str, ...] = ()
    tuning: Tuning = UNTUNED
    folder: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    files: tuple[ImportedFile, ...] = ()


class Importer(msgspec.Struct, frozen=True):
    """A format in which another program hands its chats out, found by its content. Both functions are pure, are given
    one whole JSON document, and may be run more than once; equal documents give equal ids.

    Parts name files by the ids of that program. What the document holds of one comes in `files`; what lies beside it in
    the archive, under a name that begins with the id, is found there.

    recognises: whether the document is of this format; never raises. read: its conversations, one by one; raises
    BadInput with a sentence when it is damaged.
    """

    name: str
    title: str
    recognises: Callable[[memoryview], bool]
    read: Callable[[memoryview], Iterator[ImportedConversation]]
