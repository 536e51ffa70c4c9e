"""Put together what an export tells of a chat: nodes become messages, chains of one reply become one, orphans find a
place, and nothing falls out of sight."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec

from chatserver import (
    Feedback,
    ImportedConversation,
    ImportedMessage,
    Part,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from chatserver_imports.documents import as_json

REPLY_ROLES = ("assistant", "tool")
MAX_KEPT_JSON = 20_000
"""Characters of a part of an unknown kind that are kept as they were."""


class Node(msgspec.Struct):
    """A message as the export has it. parts empty: it is left out, and what hangs on it hangs on its parent."""

    id: str
    parent_id: str | None
    role: str
    parts: list[Part]
    created_at: int = 0
    model: str = ""
    state: str = "done"
    feedback: Feedback | None = None


class Notes(Counter[str]):
    """What was not taken, or not as it was: a short phrase each, counted."""

    def unknown(self, what: str, value: Any) -> TextPart:
        """Something of a kind that is not known here, kept as the JSON it was."""
        self[f"{what}, kept as JSON"] += 1
        kept = as_json(value)
        if len(kept) > MAX_KEPT_JSON:
            self[f"the end of {what} of more than {MAX_KEPT_JSON} characters"] += 1
            kept = kept[:MAX_KEPT_JSON] + "\n…"
        return TextPart(f"\n[{what}]\n\n{fenced(kept, 'json')}\n")

    def absent(self, what: str, name: str = "") -> TextPart:
        """A file that the export names and does not hold."""
        self[f"{what}, of which only the name is in the export"] += 1
        return TextPart(f"\n[{what}{': ' + name if name else ''}, not in the export]\n")


def fenced(code: str, language: str = "") -> str:
    """A code block, its fence longer than any in it."""
    fence = "```"
    while fence in code:
        fence += "`"
    return f"{fence}{language}\n{code}\n{fence}"


def attached(name: str, content: str) -> TextPart:
    """A file of which the export holds the text."""
    return TextPart(f"\n[File {name or 'without a name'}]\n\n{fenced(content)}\n")


def called(call_id: str, name: str, arguments: Any) -> ToolCallPart:
    """A call of a tool; its arguments as JSON, whatever they were."""
    if isinstance(arguments, str):
        try:
            msgspec.json.decode(arguments, type=dict[str, msgspec.Raw])
            written = arguments
        except (msgspec.MsgspecError, RecursionError):
            written = msgspec.json.encode({"text": arguments}).decode()
    else:
        written = msgspec.json.encode(arguments if isinstance(arguments, dict) else {"value": arguments}).decode()
    return ToolCallPart(call_id, name or "tool", written)


def conversation(
    found_id: str, title: str, nodes: Iterable[Node], notes: Notes, *, joins: bool = False, **rest: Any
) -> ImportedConversation:
    """The tree of these nodes. joins: a reply comes as a chain of nodes (thinking, calls, results, words), which is
    made one message where nothing else hangs on it. rest: further fields of ImportedConversation."""
    known: dict[str, Node] = {}
    for node in nodes:
        if node.id in known:
            notes["a message whose id came twice"] += 1
        elif node.id:
            known[node.id] = node
    _mend_parents(known, notes)
    moved = _leave_out_empty(known)
    if joins:
        moved |= _join_replies(known)
    tip_id = rest.pop("tip_id", None)
    while tip_id in moved:
        tip_id = moved[tip_id]
    messages = tuple(
        ImportedMessage(
            id=node.id,
            parent_id=node.parent_id,
            role=node.role,  # type: ignore[arg-type]
            parts=pair_tools(node.parts),
            created_at=node.created_at,
            model=node.model,
            state=node.state,  # type: ignore[arg-type]
            feedback=node.feedback,
        )
        for node in known.values()
    )
    told = tuple(f"{what}" for what, count in notes.items() for _ in range(count))
    return ImportedConversation(
        id=found_id, title=title, messages=messages, tip_id=tip_id if tip_id in known else None, notes=told, **rest
    )


def _mend_parents(known: dict[str, Node], notes: Notes) -> None:
    """A parent that is not there makes a root; a circle is cut where it was found."""
    for node in known.values():
        if node.parent_id is not None and node.parent_id not in known:
            notes["a message whose parent is not in the export, now at the top"] += 1
            node.parent_id = None
    rooted: set[str] = set()
    for node in known.values():
        trail: set[str] = set()
        one: Node | None = node
        while one is not None and one.id not in rooted:
            trail.add(one.id)
            if one.parent_id in trail:
                notes["a message that was its own ancestor, now at the top"] += 1
                one.parent_id = None
            one = known[one.parent_id] if one.parent_id is not None else None
        rooted |= trail


def _leave_out_empty(known: dict[str, Node]) -> dict[str, str | None]:
    """Take nodes without parts out. Returns where each is to be looked for instead."""
    gone = {node.id: node.parent_id for node in known.values() if not node.parts}
    for node_id in gone:
        del known[node_id]
    for node in known.values():
        while node.parent_id in gone:
            node.parent_id = gone[node.parent_id]
    return gone


def _join_replies(known: dict[str, Node]) -> dict[str, str | None]:
    """Make one message of each unbranched chain of a reply's nodes. Returns where each joined one went."""
    children = Counter(node.parent_id for node in known.values())
    below: dict[str | None, list[Node]] = {}
    for node in known.values():
        below.setdefault(node.parent_id, []).append(node)
    moved: dict[str, str | None] = {}
    waiting = list(below.get(None, ()))
    while waiting:
        node = waiting.pop()
        parent = known.get(node.parent_id) if node.parent_id is not None else None
        if (
            parent is not None
            and children[parent.id] == 1
            and node.role in REPLY_ROLES
            and parent.role in REPLY_ROLES
            and parent.state == "done"
        ):
            if isinstance(parent.parts[-1], TextPart) and isinstance(node.parts[0], TextPart):
                parent.parts.append(TextPart("\n\n"))
            parent.parts += node.parts
            parent.model = node.model or parent.model
            parent.state = node.state
            parent.role = "assistant"
            moved[node.id] = parent.id
            del known[node.id]
            following = below.get(node.id, [])
            for one in following:
                one.parent_id = parent.id
            children[parent.id] = len(following)
            waiting += following
        else:
            waiting += below.get(node.id, ())
    return moved


def pair_tools(parts: list[Part]) -> tuple[Part, ...]:
    """Calls and results that belong together stay such, each result after its call; a lone one becomes text, for a
    model's endpoint refuses it. Neighbouring texts become one."""
    results = {part.call_id for part in parts if isinstance(part, ToolResultPart)}
    calls: set[str] = set()
    paired: list[Part] = []
    for part in parts:
        if isinstance(part, ToolCallPart):
            if part.call_id not in results or part.call_id in calls:
                part = TextPart(f"\n[Call of {part.name}]\n\n{fenced(part.arguments, 'json')}\n")
            else:
                calls.add(part.call_id)
        elif isinstance(part, ToolResultPart):
            if part.call_id not in calls:
                part = TextPart(f"\n[What a tool returned]\n\n{fenced(part.text)}\n")
            else:
                results.discard(part.call_id)
                calls.discard(part.call_id)
        last = paired[-1] if paired else None
        if isinstance(part, TextPart) and not part.text:
            continue
        if isinstance(part, TextPart) and isinstance(last, TextPart):
            paired[-1] = TextPart(last.text + part.text)
        elif isinstance(part, ReasoningPart) and isinstance(last, ReasoningPart):
            paired[-1] = ReasoningPart(f"{last.text}\n\n{part.text}", last.duration_ms + part.duration_ms)
        else:
            paired.append(part)
    return tuple(paired)
