"""ChatGPT's conversations.json: each conversation a mapping of nodes, each node a message or nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from chatserver import (
    FilePart,
    ImagePart,
    ImportedConversation,
    Part,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from chatserver_imports.citations import with_links
from chatserver_imports.documents import Table, first_row, items, rows, table, tables, text, time_us
from chatserver_imports.trees import Node, Notes, called, conversation, fenced

ROLES = ("user", "assistant", "system", "tool")
CANVAS = "canmore.create_textdoc"
_POINTER = re.compile(r"://(file[-_][A-Za-z0-9]+)")


def recognises(document: memoryview) -> bool:
    return isinstance(first_row(document).get("mapping"), dict)


def read(document: memoryview) -> Iterator[ImportedConversation]:
    for row in rows(document):
        if isinstance(row.get("mapping"), dict):
            yield _conversation(row)


def _conversation(row: Table) -> ImportedConversation:
    notes = Notes()
    nodes: list[Node] = []
    open_calls: dict[str, str] = {}  # by the node a tool's answer hangs on: the id of the call
    mapping = table(row, "mapping")
    for key in _from_the_top(mapping):
        nodes.append(_node(key, table(mapping, key), open_calls, notes))
    return conversation(
        text(row, "conversation_id") or text(row, "id") or f"{row.get('create_time')}",
        text(row, "title"),
        nodes,
        notes,
        joins=True,
        created_at=time_us(row.get("create_time")),
        updated_at=time_us(row.get("update_time")),
        tip_id=text(row, "current_node") or None,
        model=text(row, "default_model_slug"),
        archived=row.get("is_archived") is True,
        pinned=row.get("is_starred") is True,
    )


def _from_the_top(mapping: Table) -> list[str]:
    """Node ids, parents before children, so that a call is met before its result."""
    below: dict[str, list[str]] = {}
    tops = []
    for key in mapping:
        parent = text(mapping, key, "parent")
        if parent in mapping:
            below.setdefault(parent, []).append(key)
        else:
            tops.append(key)
    ordered: list[str] = []
    level = tops
    while level:
        ordered += level
        level = [child for key in level for child in below.get(key, ())]
    return ordered + [key for key in mapping if key not in set(ordered)]


def _node(key: str, node: Table, open_calls: dict[str, str], notes: Notes) -> Node:
    parent_id = text(node, "parent") or None
    message = table(node, "message")
    role = text(message, "author", "role")
    parts: list[Part] = []
    if _is_hidden(message):
        if table(message, "content").get("content_type") in ("user_editable_context", "model_editable_context"):
            notes["custom instructions"] += 1
    elif message:
        parts = _parts(key, message, open_calls.get(parent_id or ""), notes)
    if parts and isinstance(parts[-1], ToolCallPart):
        open_calls[key] = parts[-1].call_id
    elif role == "tool" and parent_id in open_calls:
        open_calls[key] = open_calls[parent_id]  # a tool may answer in several nodes
    if role and role not in ROLES:
        notes[f"a message of the unknown role {role[:40]}"] += 1
    finished = table(message, "metadata", "finish_details").get("type")
    return Node(
        id=key,
        parent_id=parent_id,
        role=role if role in ROLES else "assistant",
        parts=parts,
        created_at=time_us(message.get("create_time")),
        model=text(message, "metadata", "model_slug") if role == "assistant" else "",
        state=_state(message, finished) if role == "assistant" else "done",
    )


def _state(message: Table, finished: Any) -> str:
    if finished == "interrupted":
        return "stopped"
    return "interrupted" if text(message, "status") == "in_progress" else "done"


def _is_hidden(message: Table) -> bool:
    return table(message, "metadata").get("is_visually_hidden_from_conversation") is True


def _parts(key: str, message: Table, call_id: str | None, notes: Notes) -> list[Part]:
    content = table(message, "content")
    recipient = text(message, "recipient") or "all"
    role = text(message, "author", "role")
    found = list(_content(content, notes))
    pictures = {part.file_id for part in found if isinstance(part, ImagePart)}
    for one in tables(message, "metadata", "attachments"):
        if text(one, "id") not in pictures:
            found.append(_attachment(one))
    spoken = "".join(part.text for part in found if isinstance(part, TextPart))
    unspoken = [part for part in found if not isinstance(part, TextPart)]
    if role == "assistant" and recipient == CANVAS and (made := _canvas(content.get("text") or spoken)):
        return [*unspoken, *made]
    if role == "assistant" and recipient != "all" and spoken.strip():
        return [*unspoken, called(key, recipient, content.get("text") or spoken)]
    if role == "tool" and spoken.strip():
        if call_id is not None:
            return [ToolResultPart(call_id, spoken.strip()), *unspoken]
        if text(message, "author", "name") == CANVAS:
            return unspoken  # "Successfully created": what was made stands above
        return [TextPart(f"\n[{text(message, 'author', 'name') or 'A tool'}]\n\n{spoken}"), *unspoken]
    references = tables(message, "metadata", "content_references") or _old_citations(message)
    said = [TextPart(with_links(one.text, references)) if isinstance(one, TextPart) else one for one in found]
    return [part for part in said if not isinstance(part, TextPart) or part.text.strip()]


def _attachment(one: Table) -> Part:
    name, kind, size = text(one, "name"), text(one, "mime_type"), one.get("size")
    if kind.startswith("image/"):
        return ImagePart(file_id=text(one, "id"), alt=name)
    return FilePart(text(one, "id"), name, "", size if isinstance(size, int) and size > 0 else 0)


def _canvas(written: Any) -> list[Part]:
    """A document made beside the chat, as it was at first; what was changed of it later is told by its call."""
    try:
        made = msgspec.json.decode(written) if isinstance(written, str) else None
    except (msgspec.MsgspecError, RecursionError):
        made = None
    content, kind = text(made, "content"), text(made, "type")
    if not content:
        return []
    language = kind.partition("/")[2] if kind.startswith("code/") else "markdown"
    return [TextPart(f"\n\n**{text(made, 'name') or 'Document'}**\n\n{fenced(content, language)}\n\n")]


def _old_citations(message: Table) -> list[Table]:
    """Marks such as 【3†source】, each with where it stands and what it names."""
    said = "".join(one for one in items(message, "content", "parts") if isinstance(one, str))
    found = []
    for one in tables(message, "metadata", "citations"):
        start, end = one.get("start_ix"), one.get("end_ix")
        if isinstance(start, int) and isinstance(end, int) and said[start:end].startswith("【"):
            found.append({**table(one, "metadata"), "matched_text": said[start:end]})
    return found


def _content(content: Table, notes: Notes) -> Iterator[Part]:
    kind = text(content, "content_type")
    if kind in ("text", "multimodal_text"):
        for piece in items(content, "parts"):
            yield from _piece(piece, notes)
    elif kind == "code":
        yield TextPart(fenced(text(content, "text"), _language(content)))
    elif kind == "execution_output":
        yield TextPart(text(content, "text"))
    elif kind == "thoughts":
        for thought in tables(content, "thoughts"):
            words = text(thought, "content") or "\n".join(str(one) for one in items(thought, "chunks"))
            heading = text(thought, "summary")
            yield ReasoningPart("\n\n".join(one for one in (f"**{heading}**" if heading else "", words) if one))
    elif kind == "reasoning_recap":
        return  # "Thought for 12 seconds": said by the thoughts themselves
    elif kind == "tether_quote":
        yield TextPart(f"\n> {text(content, 'text')}\n\n{text(content, 'title')} {text(content, 'url')}\n")
    elif kind == "tether_browsing_display":
        yield TextPart(text(content, "result") or text(content, "summary"))
    elif kind == "system_error":
        yield TextPart(f"[{text(content, 'name') or 'Error'}] {text(content, 'text')}")
    elif content:
        yield notes.unknown(f"content of the kind {kind[:40] or 'without a name'}", content)


def _language(content: Table) -> str:
    language = text(content, "language")
    return "" if language == "unknown" else language


def _piece(piece: Any, notes: Notes) -> Iterator[Part]:
    if isinstance(piece, str):
        yield TextPart(piece)
        return
    kind = text(piece, "content_type")
    if kind == "image_asset_pointer":
        made_from = text(piece, "metadata", "dalle", "prompt")
        pointer = _POINTER.search(text(piece, "asset_pointer"))
        if pointer is None:
            yield notes.absent("A picture", made_from or text(piece, "asset_pointer"))
        else:
            yield ImagePart(file_id=pointer[1], alt=made_from)
    elif kind == "audio_transcription":
        yield TextPart(text(piece, "text"))
    elif kind in ("audio_asset_pointer", "real_time_user_audio_video_asset_pointer", "video_container_asset_pointer"):
        yield notes.absent("A recording")
    elif piece is not None:
        yield notes.unknown(f"a part of the kind {kind[:40] or 'without a name'}", piece)
