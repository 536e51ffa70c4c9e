"""A share is a snapshot of a conversation behind an unguessable link: which messages, and what of them is shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from chatserver.domain.messages import (
    CitationPart,
    FilePart,
    ImagePart,
    Message,
    Parts,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from chatserver.domain.sources import citations_of
from chatserver.domain.tree import Edge, newest_leaf

ShareScope = Literal["path", "tree"]
SHOWN_ROLES = ("user", "assistant")
SHOWN_PARTS = (TextPart, ImagePart, FilePart)
"""What of a message any reader of a share is shown. What tools and knowledge brought may be the owner's alone."""


class Share(msgspec.Struct, frozen=True):
    """The link itself is kept nowhere, only its hash. tip_id: where it opens. thoughts: whether the model's reasoning
    and what its tools did are shown as well. messages: how many there were. expires_at None: until it is revoked."""

    id: str
    owner_id: str
    conversation_id: str
    tip_id: str
    scope: ShareScope
    title: str
    thoughts: bool
    messages: int
    last_four: str
    created_at: int
    expires_at: int | None = None

    def is_over(self, now: int) -> bool:
        return self.expires_at is not None and now >= self.expires_at


class NewShare(msgspec.Struct, frozen=True):
    """`secret` is what the link ends with; shown once and kept nowhere."""

    share: Share
    secret: str


class SharedItem(msgspec.Struct, frozen=True):
    """One message of a shared branch, with the ids of all its versions that were shared."""

    message: Message
    versions: tuple[str, ...]


class SharedPage(msgspec.Struct, frozen=True):
    """Some messages of a shared branch, from the top down. previous_id and next_id: the first message of the page
    before and after; None at an end. first: how many messages of the branch stand above this page."""

    share: Share
    tip_id: str
    items: tuple[SharedItem, ...]
    first: int
    previous_id: str | None = None
    next_id: str | None = None


def shown_parts(message: Message, *, thoughts: bool) -> Parts:
    """The parts of a message a reader may see: none of what a chat was told beside what was said in it. Of the passages
    an answer names by number only what they are called and where they stand."""
    if message.role not in SHOWN_ROLES:
        return ()
    wanted = (*SHOWN_PARTS, ReasoningPart, ToolCallPart, ToolResultPart) if thoughts else SHOWN_PARTS
    named = (CitationPart(one.source, number=one.number, page=one.page, place=one.place) for one in cited(message))
    return (*(part for part in message.parts if isinstance(part, wanted)), *named)


def cited(message: Message) -> tuple[CitationPart, ...]:
    """What an answer names by number: without it nobody could read the numbers."""
    return citations_of(message.parts) if message.role == "assistant" else ()


def branch_of(edges: Sequence[Edge], tip_id: str) -> list[str]:
    """The ids from the root down to a tip, of a tree that may lack what was deleted since. Empty: it lacks the tip."""
    parents = {edge.id: edge.parent_id for edge in edges}
    branch: list[str] = []
    here: str | None = tip_id
    while here is not None and here in parents:
        branch.append(here)
        here = parents[here]
    return branch[::-1]


def versions_in(edges: Iterable[Edge]) -> dict[str | None, tuple[str, ...]]:
    """The children of each message, in the order the edges stand; None stands for the roots."""
    found: dict[str | None, list[str]] = {}
    for edge in edges:
        found.setdefault(edge.parent_id, []).append(edge.id)
    return {parent: tuple(ids) for parent, ids in found.items()}


def leaf_under(edges: Sequence[Edge], top: str) -> str:
    """The newest leaf at or below a message."""
    below = versions_in(edges)
    subtree = [edge for edge in edges if edge.id == top]
    for edge in subtree:  # grows while it is walked
        subtree += [Edge(child, edge.id) for child in below.get(edge.id, ())]
    return newest_leaf(top, subtree, {})
