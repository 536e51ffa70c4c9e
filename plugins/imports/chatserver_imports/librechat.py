"""LibreChat's export of one conversation: a nested tree, a flat list with parents, or the one branch on screen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from chatserver import Feedback, ImportedConversation, Part, ReasoningPart, TextPart, ToolResultPart, Tuning
from chatserver_imports.documents import Table, first_row, items, rows, table, tables, text, time_us
from chatserver_imports.trees import Node, Notes, called, conversation

ABOVE_ALL = "00000000-0000-0000-0000-000000000000"
_THINKING = re.compile(r"\A:::thinking\n(.*?)\n:::\s*", re.DOTALL)


def recognises(document: memoryview) -> bool:
    return _is_one(first_row(document))


def read(document: memoryview) -> Iterator[ImportedConversation]:
    for row in rows(document):
        if _is_one(row):
            yield _conversation(row)


def _is_one(row: Table) -> bool:
    holds = isinstance(row.get("messages"), list) or isinstance(row.get("messagesTree"), list)
    return holds and isinstance(row.get("conversationId"), str)


def _conversation(row: Table) -> ImportedConversation:
    notes = Notes()
    found = list(_flat(tables(row, "messagesTree") or tables(row, "messages")))
    known = {text(message, "messageId") for message, _ in found}
    nodes: list[Node] = []
    above: str | None = None
    for message, nested_in in found:
        own = text(message, "messageId")
        parent = nested_in or text(message, "parentMessageId")
        if parent == ABOVE_ALL or not known:
            parent = ""
        elif parent not in known:
            parent = above or ""  # a branch whose other messages were left out
        nodes.append(_node(own, parent or None, message, notes))
        above = own
    options = table(row, "options")
    times = [node.created_at for node in nodes if node.created_at]
    return conversation(
        text(row, "conversationId"),
        text(row, "title") or text(options, "title"),
        nodes,
        notes,
        created_at=time_us(row.get("createdAt")) or min(times, default=0),
        updated_at=time_us(row.get("updatedAt")) or max(times, default=0),
        model=text(options, "model") or text(row, "model"),
        tags=tuple(one for one in items(row, "tags") if isinstance(one, str)),
        tuning=Tuning(text(options, "promptPrefix") or text(options, "system")),
    )


def _flat(messages: list[Table]) -> Iterator[tuple[Table, str]]:
    """Each message with the id of the one it was nested in ('' at the top); parents first, in any depth."""
    level = [(message, "") for message in messages]
    while level:
        yield from level
        level = [(child, text(message, "messageId")) for message, _ in level for child in tables(message, "children")]


def _node(own: str, parent: str | None, message: Table, notes: Notes) -> Node:
    is_person = message.get("isCreatedByUser") is True
    parts: list[Part] = []
    for file in tables(message, "files") + tables(message, "attachments"):
        kind = "A picture" if text(file, "type").startswith("image/") else "A file"
        parts.append(notes.absent(kind, text(file, "filename") or text(file, "filepath")))
    blocks = tables(message, "content")
    if blocks:
        for number, block in enumerate(blocks):
            parts += _block(block, f"{own}-{number}", notes)
    else:
        words = text(message, "text")
        thought = _THINKING.match(words)
        if thought:
            parts.append(ReasoningPart(thought[1]))
            words = words[thought.end() :]
        parts.append(TextPart(words))
    failed = message.get("error") is True
    return Node(
        id=own,
        parent_id=parent,
        role="user" if is_person else "assistant",
        parts=parts,
        created_at=time_us(message.get("createdAt")),
        model="" if is_person else text(message, "model"),
        state="failed" if failed else "interrupted" if message.get("unfinished") is True else "done",
        feedback=None if is_person else _feedback(message),
    )


def _feedback(message: Table) -> Feedback | None:
    said = table(message, "feedback")
    rating = text(said, "rating")
    if rating not in ("thumbsUp", "thumbsDown"):
        return None
    reason = text(said, "text") or (text(said, "tag") or text(said, "tag", "key")).replace("_", " ")
    return Feedback("good" if rating == "thumbsUp" else "bad", reason=reason)


def _block(block: Table, own: str, notes: Notes) -> Iterator[Part]:
    kind = text(block, "type")
    if kind == "text":
        yield TextPart(_words(block, "text"))
    elif kind == "think":
        yield ReasoningPart(_words(block, "think"))
    elif kind == "tool_call":
        call = table(block, "tool_call")
        call_id = text(call, "id") or own
        function = table(call, "function")
        yield called(
            call_id, text(call, "name") or text(function, "name"), call.get("args") or function.get("arguments") or {}
        )
        output = text(call, "output") or text(function, "output")
        if output:
            yield ToolResultPart(call_id, output)
    elif kind in ("image_file", "image_url"):
        yield notes.absent("A picture", text(block, "image_file", "filename"))
    elif kind == "error":
        yield TextPart(f"\n\n[Error] {_words(block, 'error') or _words(block, 'text')}")
    else:
        yield notes.unknown(f"a block of the kind {kind[:40] or 'without a name'}", block)


def _words(block: Table, key: str) -> str:
    found: Any = block.get(key)
    return found if isinstance(found, str) else text(found, "value")
