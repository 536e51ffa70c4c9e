"""LobeChat's export: messages, topics and sessions side by side, from a browser's database or a server's."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from chatserver import ImportedConversation, Part, ReasoningPart, TextPart, ToolResultPart
from chatserver_imports.documents import Table, as_json, first_row, items, table, tables, text, time_us
from chatserver_imports.trees import Node, Notes, called, conversation

CARRIED = {"messages", "topics", "sessions", "threads", "messagePlugins"}


def recognises(document: memoryview) -> bool:
    whole = first_row(document)
    if isinstance(whole.get("state"), dict):
        return "exportType" in whole and isinstance(table(whole, "state").get("messages"), list)
    return "mode" in whole and isinstance(table(whole, "data").get("messages"), list)


def read(document: memoryview) -> Iterator[ImportedConversation]:
    whole = msgspec.json.decode(document)
    state = table(whole, "state") or table(whole, "data")
    chats: dict[tuple[str, str], list[Table]] = {}
    for message in tables(state, "messages"):
        key = (text(message, "sessionId") or text(message, "groupId"), text(message, "topicId"))
        chats.setdefault(key, []).append(message)
    sessions = {text(one, "id"): one for one in tables(state, "sessions")}
    topics = {text(one, "id"): one for one in tables(state, "topics")}
    threads = {text(one, "id"): text(one, "sourceMessageId") for one in tables(state, "threads")}
    plugins = {text(one, "id"): one for one in tables(state, "messagePlugins")}
    notes = Notes()
    for name, held in state.items():
        if name not in CARRIED and held:
            notes[f"{name} of the program"] += 1
    for (session_id, topic_id), messages in chats.items():
        session, topic = sessions.get(session_id, {}), topics.get(topic_id, {})
        yield _conversation(session_id, topic_id, session, topic, messages, threads, plugins, notes)
        notes = Notes()


def _conversation(
    session_id: str,
    topic_id: str,
    session: Table,
    topic: Table,
    messages: list[Table],
    threads: dict[str, str],
    plugins: dict[str, Table],
    notes: Notes,
) -> ImportedConversation:
    ordered = sorted(messages, key=lambda one: time_us(one.get("createdAt")))
    known = {text(one, "id") for one in ordered}
    ends: dict[str, str] = {}  # the last message of each thread, and of none
    nodes = []
    for message in ordered:
        own, thread = text(message, "id"), text(message, "threadId")
        parent = text(message, "parentId")
        if parent not in known or parent == own:
            parent = ends.get(thread) or threads.get(thread, "") or ends.get("", "")
        if parent not in known:
            parent = ""
        nodes.append(_node(own, parent or None, message, plugins.get(own, {}), notes))
        ends[thread] = own
    title = text(topic, "title") or text(session, "meta", "title") or text(session, "title")
    return conversation(
        f"{session_id}/{topic_id}",
        title,
        nodes,
        notes,
        joins=True,
        created_at=time_us(topic.get("createdAt")) or time_us(ordered[0].get("createdAt")),
        updated_at=time_us(topic.get("updatedAt")) or time_us(ordered[-1].get("updatedAt")),
        tip_id=ends.get(""),
        model=text(session, "config", "model"),
        pinned=topic.get("favorite") is True or (not topic and session.get("pinned") is True),
    )


def _node(own: str, parent: str | None, message: Table, plugin: Table, notes: Notes) -> Node:
    role = text(message, "role")
    parts: list[Part] = []
    thought = text(message, "reasoning", "content")
    if thought:
        duration = table(message, "reasoning").get("duration")
        parts.append(ReasoningPart(thought, duration if isinstance(duration, int) and duration > 0 else 0))
    parts += [notes.absent("A file") for _ in items(message, "files") or items(message, "fileList")]
    parts += [notes.absent("A picture", text(one, "alt")) for one in tables(message, "imageList")]
    content = message.get("content")
    if isinstance(content, str) and role != "tool":
        # Some servers stored what is being written as a placeholder.
        parts.append(TextPart("" if content == "..." and role == "assistant" else content))
    elif content is not None and not isinstance(content, str):
        parts.append(notes.unknown("the content of a message", content))
    for call in tables(message, "tools"):
        name = ".".join(one for one in (text(call, "identifier"), text(call, "apiName")) if one)
        parts.append(called(text(call, "id"), name, call.get("arguments") or {}))
    if role == "tool":
        call_id = text(message, "tool_call_id") or text(plugin, "toolCallId")
        parts.append(ToolResultPart(call_id, text(message, "content") or as_json(content)))
    failed = message.get("error")
    if failed:
        parts.append(TextPart(f"\n\n[Error] {text(failed, 'message') or as_json(failed)}"))
    if table(message, "translate") or table(message, "extra", "translate"):
        notes["the translation of a message"] += 1
    if role not in ("user", "assistant", "system", "tool"):
        notes[f"a message of the unknown role {role[:40]}"] += 1
        role = "assistant"
    model = text(message, "model") or text(message, "extra", "fromModel") or text(message, "fromModel")
    return Node(
        id=own,
        parent_id=parent,
        role=role,
        parts=parts or [TextPart("")],
        created_at=time_us(message.get("createdAt")),
        model=model if role == "assistant" else "",
        state="failed" if failed and role == "assistant" else "done",
    )
