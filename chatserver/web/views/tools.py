"""What a reply's tools were asked and gave, one block each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from html import escape
from typing import Literal

import msgspec

from chatserver.domain.messages import Parts, ToolCallPart, ToolResultPart
from chatserver.words import gettext as _

SHOWN_CHARS = 8_000
"""Of arguments and of a result, each; the API tells all of it."""

ToolState = Literal["running", "asks", "done", "failed", "undone"]


_MARK = re.compile("\ue000([a-z_]+)\ue001")
_LABELS: dict[str, Callable[[], str]] = {
    "running": lambda: _("Running…"),
    "asks": lambda: _("Waits for you"),
    "failed": lambda: _("Did not work"),
    "undone": lambda: _("Not carried out"),
    "arguments": lambda: _("Asked with"),
    "result": lambda: _("Result"),
    "question": lambda: _("This acts outside this chat. May it?"),
    "once": lambda: _("Allow once"),
    "always": lambda: _("Always in this chat"),
    "declined": lambda: _("Decline"),
    "left": lambda: _("The rest is not shown here."),
}


def tool_word(name: str) -> str:
    """A label in the language that is spoken."""
    return _LABELS[name]()


def tools_in_words(markup: str) -> str:
    """Painted blocks with their labels in the language that is spoken."""
    return _MARK.sub(lambda found: escape(tool_word(found[1])) if found[1] in _LABELS else "", markup)


def marked(name: str) -> str:
    """Stands for a label until `tools_in_words` says it."""
    return f"\ue000{name}\ue001"


class ToolView(msgspec.Struct, frozen=True):
    """One call. state: asks, it waits for a word; undone, the answer ended before. arguments, result: as text, to be
    escaped, cut after SHOWN_CHARS; the characters left out are counted."""

    call_id: str
    name: str
    arguments: str = ""
    arguments_left: int = 0
    result: str = ""
    result_left: int = 0
    state: ToolState = "running"
    turn_id: str = ""

    @property
    def is_over(self) -> bool:
        return self.state not in ("running", "asks")


def tool_view(call: ToolCallPart, result: ToolResultPart | None, state: ToolState, turn_id: str = "") -> ToolView:
    """state: that of a call without a result."""
    arguments = pretty(call.arguments)
    told = result.text if result is not None else ""
    return ToolView(
        call_id=call.call_id,
        name=readable(call.name),
        arguments="" if arguments == "{}" else arguments[:SHOWN_CHARS],
        arguments_left=max(0, len(arguments) - SHOWN_CHARS),
        result=told[:SHOWN_CHARS],
        result_left=max(0, len(told) - SHOWN_CHARS),
        state=state if result is None else "failed" if result.is_error else "done",
        turn_id=turn_id,
    )


def tool_views(parts: Parts) -> tuple[ToolView, ...]:
    """Those of a reply that has ended, in the order they were asked for."""
    results = {part.call_id: part for part in parts if isinstance(part, ToolResultPart)}
    return tuple(tool_view(part, results.get(part.call_id), "undone") for part in _calls(parts))


def readable(name: str) -> str:
    """A tool's name for people: what is before two underscores is where it comes from."""
    return name.replace("__", " · ", 1)[:200]


def pretty(arguments: str) -> str:
    """A JSON text with its lines apart; anything else as it is."""
    try:
        return msgspec.json.format(arguments, indent=2)
    except (msgspec.DecodeError, RecursionError):
        return arguments


def _calls(parts: Parts) -> Iterable[ToolCallPart]:
    return (part for part in parts if isinstance(part, ToolCallPart))
