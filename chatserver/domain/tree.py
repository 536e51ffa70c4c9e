"""The tree of messages: only `parent_id` is stored, everything else is worked out here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from chatserver.domain.calls import estimate_tokens
from chatserver.domain.extend import PromptMessage
from chatserver.domain.messages import (
    CitationPart,
    FilePart,
    ImagePart,
    Message,
    Part,
    Parts,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)

TOKENS_PER_MESSAGE = 4
"""What a message costs besides its text: role and separators. From the chat formats of several vendors."""
TOKENS_PER_IMAGE = 800


class Edge(msgspec.Struct, frozen=True):
    """A node without its content: enough to walk the tree."""

    id: str
    parent_id: str | None
    state: str = "done"


class TreeFault(msgspec.Struct, frozen=True):
    """A broken invariant: orphan | cycle | foreign_parent | missing_tip | running_without_turn."""

    kind: str
    message_id: str


class FittedPath(msgspec.Struct, frozen=True):
    """The part of a path that fits a model's window. left_out: how many of the oldest messages do not."""

    messages: tuple[Message, ...]
    left_out: int


def below_marker(path: Sequence[Message]) -> tuple[Message, ...]:
    """What lies below the last clear-context marker of a path given root first; the whole path without one."""
    for index in range(len(path) - 1, -1, -1):
        if path[index].cleared_after:
            return tuple(path[index + 1 :])
    return tuple(path)


def count_tokens(message: Message, factor: float = 1.0) -> int:
    """An estimate of what a message costs in a prompt."""
    return TOKENS_PER_MESSAGE + count_parts(message.parts, factor)


def count_parts(parts: Parts, factor: float = 1.0) -> int:
    """An estimate of what parts cost in a prompt; reasoning is never sent back and costs nothing."""
    tokens = 0
    for part in parts:
        if isinstance(part, (TextPart, ToolResultPart)):
            tokens += estimate_tokens(part.text, factor)
        elif isinstance(part, ToolCallPart):
            tokens += estimate_tokens(part.arguments, factor)
        elif isinstance(part, CitationPart):
            tokens += estimate_tokens(part.text, factor)
        elif isinstance(part, ImagePart):
            tokens += TOKENS_PER_IMAGE
        elif isinstance(part, FilePart):
            tokens += TOKENS_PER_MESSAGE + int(part.tokens * factor)
    return tokens


def exchanges(path: Sequence[Message]) -> list[tuple[Message, ...]]:
    """A path cut before every question, so that a question stays with its replies."""
    groups: list[list[Message]] = []
    for message in path:
        if message.role == "user" or not groups:
            groups.append([])
        groups[-1].append(message)
    return [tuple(group) for group in groups]


def fit(path: Sequence[Message], budget_tokens: int, factor: float = 1.0) -> FittedPath:
    """The newest whole exchanges of a path that fit the budget; the last exchange always stays. 0 means no bound."""
    if budget_tokens <= 0:
        return FittedPath(tuple(path), 0)
    kept: list[tuple[Message, ...]] = []
    spent = 0
    groups = exchanges(path)
    for group in reversed(groups):
        cost = sum(count_tokens(message, factor) for message in group)
        if kept and spent + cost > budget_tokens:
            break
        kept.append(group)
        spent += cost
    messages = tuple(message for group in reversed(kept) for message in group)
    return FittedPath(messages, len(path) - len(messages))


def to_prompt(path: Sequence[Message]) -> tuple[PromptMessage, ...]:
    """Messages as they are sent: no reasoning, no citations, a continuation merged with what it continues, empty ones
    dropped, and a reply that had tools at work cut into what was said, what they gave, and what was said then."""
    merged: list[PromptMessage] = []
    previous: Message | None = None
    for message in path:
        parts = tuple(part for part in message.parts if not isinstance(part, (ReasoningPart, CitationPart)))
        joins = message.continues and previous is not None and merged and merged[-1].role == message.role
        if joins:
            merged[-1] = PromptMessage(message.role, join_parts(merged[-1].parts, parts))
        elif any(not isinstance(part, TextPart) or part.text.strip() for part in parts):
            merged.append(PromptMessage(message.role, parts))
        previous = message
    return tuple(piece for message in merged for piece in in_rounds(message))


def in_rounds(message: PromptMessage) -> list[PromptMessage]:
    """A reply as a model is told of it: what it said with the tools it asked for, then their results in the order it
    asked, and so on. A call that got no result was not carried out; a result nobody asked for is dropped."""
    if message.role != "assistant" or not any(isinstance(part, ToolCallPart) for part in message.parts):
        return [message]
    rounds: list[PromptMessage] = []
    said: list[Part] = []
    results: dict[str, ToolResultPart] = {}

    def close() -> None:
        nonlocal said, results
        calls = [part for part in said if isinstance(part, ToolCallPart)]
        if calls or any(not isinstance(part, TextPart) or part.text.strip() for part in said):
            rounds.append(PromptMessage("assistant", tuple(said)))
        if calls:
            answers = tuple(results.get(call.call_id) or not_carried_out(call.call_id) for call in calls)
            rounds.append(PromptMessage("tool", answers))
        said, results = [], {}

    asks = False
    for part in message.parts:
        if isinstance(part, ToolResultPart):
            results[part.call_id] = part
            continue
        if asks and (results or not isinstance(part, ToolCallPart)):
            close()
            asks = False
        said.append(part)
        asks = asks or isinstance(part, ToolCallPart)
    close()
    return rounds


def last_round(parts: Parts) -> tuple[Parts, Parts]:
    """A reply's parts up to its last tool result, and those after it: what the newest call of its turn was sent, and
    what it said."""
    last = max((at for at, part in enumerate(parts) if isinstance(part, ToolResultPart)), default=-1)
    return parts[: last + 1], parts[last + 1 :]


def not_carried_out(call_id: str) -> ToolResultPart:
    return ToolResultPart(call_id, "This call was not carried out: the answer was stopped or cut off before.", True)


def join_parts(first: Parts, second: Parts) -> Parts:
    """Two lists of parts as one, text that meets text joined without a seam."""
    if first and second and isinstance(first[-1], TextPart) and isinstance(second[0], TextPart):
        return (*first[:-1], TextPart(first[-1].text + second[0].text), *second[1:])
    return (*first, *second)


def newest_leaf(top: str, edges: Sequence[Edge], seen_at: Mapping[str, int]) -> str:
    """The tip to open below a message: the leaf last looked at, else the newest. `edges` is the subtree of `top`."""
    parents = {edge.parent_id for edge in edges}
    leaves = [edge.id for edge in edges if edge.id not in parents]
    if not leaves:
        return top
    return max(leaves, key=lambda leaf: (seen_at.get(leaf, 0), leaf))


def leaves_of(edges: Sequence[Edge]) -> list[str]:
    """The ids nothing hangs below."""
    parents = {edge.parent_id for edge in edges}
    return [edge.id for edge in edges if edge.id not in parents]


def find_faults(edges: Sequence[Edge], tip_id: str | None, known_elsewhere: frozenset[str]) -> list[TreeFault]:
    """Every broken invariant of one conversation's tree, hidden messages included in `edges`.

    known_elsewhere: parents that exist, but in another conversation.
    """
    by_id = {edge.id: edge for edge in edges}
    faults = []
    for edge in edges:
        if edge.parent_id is not None and edge.parent_id not in by_id:
            kind = "foreign_parent" if edge.parent_id in known_elsewhere else "orphan"
            faults.append(TreeFault(kind, edge.id))
    rooted: set[str] = set()
    for edge in edges:
        trail: list[str] = []
        on_trail: set[str] = set()
        current: str | None = edge.id
        while current is not None and current in by_id and current not in rooted and current not in on_trail:
            trail.append(current)
            on_trail.add(current)
            current = by_id[current].parent_id
        if current is not None and current in on_trail:
            faults.append(TreeFault("cycle", current))
        rooted.update(trail)
    if tip_id is not None and tip_id not in by_id:
        faults.append(TreeFault("missing_tip", tip_id))
    return faults
