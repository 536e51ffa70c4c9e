"""Open WebUI's export of chats: each with a history of messages that know their parents."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

from chatserver import Feedback, ImportedConversation, Part, ReasoningPart, TextPart, ToolResultPart, Tuning
from chatserver_imports.documents import Table, as_json, first_row, items, rows, table, tables, text, time_us
from chatserver_imports.inline import Inline
from chatserver_imports.trees import Node, Notes, called, conversation

_DETAILS = re.compile(r"<details\s([^>]*)>(.*?)</details>", re.DOTALL)
_SUMMARY = re.compile(r"\s*<summary>.*?</summary>", re.DOTALL)
_ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')
_QUOTED = re.compile(r"^> ?", re.MULTILINE)


def recognises(document: memoryview) -> bool:
    chat = table(first_row(document), "chat")
    return isinstance(chat.get("history"), dict) or isinstance(chat.get("messages"), list)


def read(document: memoryview) -> Iterator[ImportedConversation]:
    for row in rows(document):
        if isinstance(row.get("chat"), dict):
            yield _conversation(row)


def _conversation(row: Table) -> ImportedConversation:
    notes = Notes()
    chat = table(row, "chat")
    found = table(chat, "history", "messages")
    own_id = text(row, "id") or text(chat, "id") or f"{chat.get('timestamp')}"
    inline = Inline(own_id)
    nodes: list[Node] = []
    above: str | None = None
    if found:
        for key, message in found.items():
            if isinstance(message, dict):
                nodes.append(_node(key, text(message, "parentId") or None, message, inline, notes))
    else:  # before there were branches
        for number, message in enumerate(tables(chat, "messages")):
            own = text(message, "id") or f"{number}"
            nodes.append(_node(own, above, message, inline, notes))
            above = own
    if text(row, "folder_id"):
        notes["that a conversation lies in a folder"] += 1
    if text(row, "share_id"):
        notes["a share link"] += 1
    models = [one for one in items(chat, "models") if isinstance(one, str)]
    return conversation(
        own_id,
        text(row, "title") or text(chat, "title"),
        nodes,
        notes,
        created_at=time_us(row.get("created_at")) or time_us(chat.get("timestamp")),
        updated_at=time_us(row.get("updated_at")),
        tip_id=text(chat, "history", "currentId") or above,
        model=models[0] if models else "",
        archived=row.get("archived") is True,
        pinned=row.get("pinned") is True,
        tags=tuple(one for one in items(row, "meta", "tags") or items(chat, "tags") if isinstance(one, str)),
        tuning=Tuning(text(chat, "system") or text(chat, "params", "system")),
        files=tuple(inline.files),
    )


def _node(own: str, parent: str | None, message: Table, inline: Inline, notes: Notes) -> Node:
    role = text(message, "role")
    parts: list[Part] = []
    for file in tables(message, "files"):
        kind = "A picture" if text(file, "type") == "image" else "A file"
        url = text(file, "url")
        if picture := inline.picture(url, text(file, "name")):
            parts.append(picture)
            continue
        parts.append(notes.absent(kind, text(file, "name") or ("" if url.startswith("data:") else url)))
    outputs = tables(message, "output")
    parts += (
        list(_outputs(own, outputs, notes)) if outputs else list(_content(own, message.get("content"), inline, notes))
    )
    for source in tables(message, "sources") or tables(message, "citations"):
        name, url = text(source, "source", "name"), text(source, "source", "url")
        parts.append(TextPart(f"\n\n[{name or url or 'A source'}]" + (f"({url})" if url else "")))
    failed = message.get("error")
    if failed:
        why = failed if isinstance(failed, str) else text(failed, "content") or as_json(failed)
        parts.append(TextPart(f"\n\n[Error] {why}"))
    state = "failed" if failed else "interrupted" if message.get("done") is False and role == "assistant" else "done"
    return Node(
        id=own,
        parent_id=parent,
        role=role if role in ("user", "assistant", "system", "tool") else "assistant",
        parts=parts or [TextPart("")],
        created_at=time_us(message.get("timestamp")),
        model=text(message, "model") if role == "assistant" else "",
        state=state,
        feedback=_feedback(message) if role == "assistant" else None,
    )


def _feedback(message: Table) -> Feedback | None:
    said = table(message, "annotation")
    rating = said.get("rating")
    if isinstance(rating, bool) or rating not in (1, -1):
        return None
    reason = text(said, "comment") or text(said, "reason").replace("_", " ")
    return Feedback("good" if rating == 1 else "bad", reason=reason)


def _content(own: str, content: Any, inline: Inline, notes: Notes) -> Iterator[Part]:
    """Text in which thinking and the calls of tools stand as <details>."""
    if isinstance(content, list):
        for piece in content:
            if text(piece, "type") == "text":
                yield TextPart(text(piece, "text"))
            elif text(piece, "type") == "image_url":
                yield inline.picture(text(piece, "image_url", "url")) or notes.absent("A picture")
            else:
                yield notes.unknown("a part of a message", piece)
        return
    rest = content if isinstance(content, str) else ""
    at = 0
    for number, match in enumerate(_DETAILS.finditer(rest)):
        told = {key: html.unescape(value) for key, value in _ATTRIBUTE.findall(match[1])}
        inner = html.unescape(_SUMMARY.sub("", match[2], count=1)).strip()
        if told.get("type") not in ("reasoning", "tool_calls"):
            continue
        yield from inline.parts(rest[at : match.start()])
        at = match.end()
        if told["type"] == "reasoning":
            yield ReasoningPart(_QUOTED.sub("", inner), _milliseconds(told.get("duration")))
        else:
            call_id = told.get("id") or f"{own}-{number}"
            yield called(call_id, told.get("name", ""), told.get("arguments") or {})
            yield ToolResultPart(call_id, told.get("result") or inner)
    yield from inline.parts(rest[at:].lstrip("\n") if at else rest)


def _outputs(own: str, outputs: list[Table], notes: Notes) -> Iterator[Part]:
    for number, one in enumerate(outputs):
        kind = text(one, "type")
        words = "".join(text(piece, "text") for piece in tables(one, "content") or tables(one, "output"))
        if kind == "message":
            yield TextPart(words)
        elif kind == "reasoning":
            yield ReasoningPart(words, _milliseconds(one.get("duration")))
        elif kind == "function_call":
            yield called(text(one, "call_id") or f"{own}-{number}", text(one, "name"), one.get("arguments") or {})
        elif kind == "function_call_output":
            yield ToolResultPart(text(one, "call_id"), words or text(one, "output"))
        else:
            yield notes.unknown(f"an output of the kind {kind[:40] or 'without a name'}", one)


def _milliseconds(seconds: Any) -> int:
    try:
        return max(int(float(seconds) * 1_000), 0)
    except (TypeError, ValueError, OverflowError):
        return 0
