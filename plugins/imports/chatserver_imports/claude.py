"""Claude's conversations.json: each conversation a list of messages, each message a list of blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chatserver import FilePart, ImagePart, ImportedConversation, Part, ReasoningPart, TextPart, ToolResultPart
from chatserver_imports.documents import Table, as_json, first_row, rows, table, tables, text, time_us
from chatserver_imports.trees import Node, Notes, attached, called, conversation, fenced

ABOVE_ALL = "00000000-0000-4000-8000-000000000000"
LANGUAGES = {
    "text/markdown": "markdown",
    "text/html": "html",
    "image/svg+xml": "svg",
    "application/vnd.ant.mermaid": "mermaid",
    "application/vnd.ant.react": "jsx",
}


def recognises(document: memoryview) -> bool:
    return isinstance(first_row(document, "conversations").get("chat_messages"), list)


def read(document: memoryview) -> Iterator[ImportedConversation]:
    for row in rows(document, "conversations"):
        if isinstance(row.get("chat_messages"), list):
            yield _conversation(row)


def _conversation(row: Table) -> ImportedConversation:
    notes = Notes()
    messages = tables(row, "chat_messages")
    has_parents = any(text(message, "parent_message_uuid") for message in messages)
    nodes: list[Node] = []
    above: str | None = None
    for number, message in enumerate(messages):
        own = text(message, "uuid") or f"{number}"
        parent = text(message, "parent_message_uuid") or None
        if not has_parents:
            parent = above
        elif parent == ABOVE_ALL:
            parent = None
        nodes.append(_node(own, parent, message, row, notes))
        above = own
    if text(row, "summary"):
        notes["the summary of a conversation"] += 1
    if table(row, "project"):
        notes["that a conversation belongs to a project"] += 1
    return conversation(
        text(row, "uuid"),
        text(row, "name"),
        nodes,
        notes,
        created_at=time_us(row.get("created_at")),
        updated_at=time_us(row.get("updated_at")),
        tip_id=text(row, "current_leaf_message_uuid") or above,
        model=text(row, "model"),
        pinned=row.get("is_starred") is True,
    )


def _node(own: str, parent: str | None, message: Table, row: Table, notes: Notes) -> Node:
    is_person = text(message, "sender") == "human"
    parts: list[Part] = []
    for one in tables(message, "attachments"):
        content = text(one, "extracted_content")
        name = text(one, "file_name")
        parts.append(attached(name, content) if content else notes.absent("A file", name))
    for one in tables(message, "files"):
        name, own_id = text(one, "file_name"), text(one, "file_uuid")
        if not own_id:
            parts.append(notes.absent("A file", name))
        elif text(one, "file_kind") == "image":
            parts.append(ImagePart(file_id=own_id, alt=name))
        else:
            parts.append(FilePart(own_id, name))
    blocks = tables(message, "content")
    open_calls: list[str] = []
    for number, block in enumerate(blocks):
        parts += _block(block, f"{own}-{number}", open_calls, notes)
    if not any(isinstance(part, TextPart) and part.text.strip() for part in parts) and text(message, "text"):
        parts.append(TextPart(text(message, "text")))
    return Node(
        id=own,
        parent_id=parent,
        role="user" if is_person else "assistant",
        parts=parts or [TextPart("")],
        created_at=time_us(message.get("created_at")),
        model="" if is_person else text(message, "model") or text(row, "model"),
        state="stopped" if not is_person and text(message, "stop_reason") == "user_canceled" else "done",
    )


def _block(block: Table, own: str, open_calls: list[str], notes: Notes) -> Iterator[Part]:
    kind = text(block, "type")
    if kind == "text":
        yield TextPart(text(block, "text"))
        for citation in tables(block, "citations"):
            url = text(citation, "details", "url") or text(citation, "url")
            if url:
                yield TextPart(f" [{text(citation, 'title') or url}]({url})")
    elif kind == "thinking":
        yield ReasoningPart(text(block, "thinking"))
    elif kind == "tool_use" and text(block, "name") == "artifacts" and text(block, "input", "content"):
        made = table(block, "input")
        language = LANGUAGES.get(text(made, "type"), text(made, "language"))
        yield TextPart(f"\n\n**{text(made, 'title') or text(made, 'id')}**\n\n")
        yield TextPart(fenced(text(made, "content"), language) + "\n\n")
    elif kind == "tool_use":
        call_id = text(block, "id") or own
        open_calls.append(call_id)
        yield called(call_id, text(block, "name"), block.get("input"))
    elif kind == "tool_result":
        if text(block, "name") == "artifacts":
            return  # "OK": the artifact itself stands where it was made
        call_id = text(block, "tool_use_id")
        if call_id not in open_calls:
            call_id = open_calls[0] if open_calls else own
        if call_id in open_calls:
            open_calls.remove(call_id)
        yield ToolResultPart(call_id, _result(block.get("content")), block.get("is_error") is True)
    elif kind == "voice_note":
        yield TextPart(text(block, "text"))
    elif kind in ("token_budget", "flag"):
        notes[f"a mark of the kind {kind}"] += 1
    else:
        yield notes.unknown(f"a block of the kind {kind[:40] or 'without a name'}", block)


def _result(content: Any) -> str:
    if isinstance(content, str):
        return content
    found = []
    for one in content if isinstance(content, list) else []:
        found.append(text(one, "text") if isinstance(one, dict) and text(one, "text") else as_json(one))
    return "\n".join(found)
