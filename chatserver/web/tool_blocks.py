"""The blocks of tools in a reply that is being written: painted once for all its readers, in each one's words."""

from __future__ import annotations

import msgspec

from chatserver.domain.messages import ToolCallPart, ToolResultPart
from chatserver.domain.turns import ToolCallDelta, ToolResultDelta
from chatserver.web import templating
from chatserver.web.blocks import Op
from chatserver.web.views.tools import ToolView, marked, tool_view


def paint(tool: ToolView) -> str:
    """One block, its labels marked for `in_words`. What a model wrote is escaped, and holds no mark."""
    return templating.render("tool.html", tool=_without_marks(tool), tool_word=marked)


class ToolBlocks:
    """The calls of one running turn as they come and end: those that are over stay, the others are drawn again."""

    def __init__(self, turn_id: str) -> None:
        self._turn_id = turn_id
        self._calls: dict[str, ToolCallPart] = {}
        self._waiting: dict[str, str] = {}
        self._asking: set[str] = set()
        self._done: list[str] = []

    def begin(self, delta: ToolCallDelta) -> list[Op]:
        call = self._calls[delta.call_id] = ToolCallPart(delta.call_id, delta.name, delta.arguments)
        if delta.asks:
            self._asking.add(delta.call_id)
        self._waiting[delta.call_id] = paint(tool_view(call, None, "asks" if delta.asks else "running", self._turn_id))
        return [self._open()]

    def answered(self, call_id: str) -> str:
        """Somebody said something to a call: its block, which asks no more; '' when it is over."""
        if call_id in self._asking:
            self._asking.discard(call_id)
            self._waiting[call_id] = paint(tool_view(self._calls[call_id], None, "running", self._turn_id))
        return self._waiting.get(call_id, "")

    def end(self, delta: ToolResultDelta) -> list[Op]:
        call = self._calls.get(delta.call_id)
        if call is None or call.call_id not in self._waiting:
            return []
        self._waiting.pop(call.call_id)
        self._asking.discard(call.call_id)
        self._done.append(paint(tool_view(call, ToolResultPart(call.call_id, delta.text, delta.is_error), "done")))
        return [Op("append", self._done[-1]), self._open()]

    def snapshot(self) -> tuple[str, str]:
        return "".join(self._done), self._open().html

    def _open(self) -> Op:
        return Op("open", "".join(self._waiting.values()))


def _without_marks(tool: ToolView) -> ToolView:
    def clean(text: str) -> str:
        return text.replace("\ue000", "\ufffd")

    return msgspec.structs.replace(
        tool, name=clean(tool.name), arguments=clean(tool.arguments), result=clean(tool.result)
    )
