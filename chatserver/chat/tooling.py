"""Run what a model asks for in the middle of its turn: side by side, bounded, never in the way of Stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import msgspec
import structlog

from chatserver.chat.consents import ALLOWED, Consents
from chatserver.chat.prompts import window_budget
from chatserver.domain.extend import ToolSpec
from chatserver.domain.models import Model
from chatserver.domain.tools import (
    CALL_S,
    CALLS_AT_ONCE,
    CALLS_PER_ROUND,
    RESULT_BYTES,
    TURN_RESULT_BYTES,
    Tool,
    ToolOutcome,
    ToolUse,
    cut_result,
    distinct_id,
)
from chatserver.domain.turns import ToolCallDelta, ToolResultDelta, Turn
from chatserver.errors import ChatserverError
from chatserver.plugins import Plugins

BYTES_PER_TOKEN = 4
"""Of plain English, as estimates count."""

log = structlog.get_logger("chatserver.tooling")


class Tooling:
    """What this house offers to models."""

    def __init__(self, plugins: Plugins, consents: Consents, *, call_s: float = CALL_S) -> None:
        """call_s: how long one call may take."""
        self._plugins = plugins
        self.consents = consents
        self.call_s = call_s

    async def open(self, turn: Turn, model: Model, use: ToolUse, taken: Sequence[str]) -> Toolbox:
        """The tools of one turn; none for a model whose upstream says it has no use for them. taken: ids of calls that
        stand in its prompt already."""
        left_bytes = result_budget_bytes(model)
        if "tools" in model.lacks:
            return Toolbox(self, turn, use, {}, set(), taken, left_bytes)
        tools = [tool for _, tool in self._plugins.registered("register_tools")]
        if self._plugins.has("offer_tools"):
            tools += await self._plugins.gather("offer_tools", use=use)
        by_name: dict[str, Tool] = {}
        for tool in tools:
            by_name.setdefault(tool.spec.name, tool)
        allowed: set[str] = set()
        if any(tool.needs_consent for tool in by_name.values()):
            allowed = await self.consents.always_allowed(turn, is_tainted=use.is_tainted)
        return Toolbox(self, turn, use, by_name, allowed, taken, left_bytes)


class Toolbox:
    """The tools of one turn, and what they gave so far."""

    def __init__(
        self,
        tooling: Tooling,
        turn: Turn,
        use: ToolUse,
        tools: dict[str, Tool],
        allowed: set[str],
        taken: Sequence[str],
        left_bytes: int,
    ) -> None:
        self._tooling = tooling
        self._turn = turn
        self._use = use
        self._tools = tools
        self._allowed = allowed
        self._taken = set(taken)
        self._left_bytes = left_bytes
        self._places = asyncio.Semaphore(CALLS_AT_ONCE)

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        return tuple(tool.spec for tool in self._tools.values())

    async def receive(self, delta: ToolCallDelta) -> ToolCallDelta:
        """A call as it is shown and kept: with an id of its own in this turn, and whether it waits for a person."""
        call_id = distinct_id(delta.call_id, self._taken)
        self._taken.add(call_id)
        tool = self._tools.get(delta.name)
        asks = tool is not None and tool.needs_consent and delta.name not in self._allowed
        if asks:
            await self._tooling.consents.ask(self._turn, call_id, delta.name)
        return ToolCallDelta(call_id, delta.name, delta.arguments, asks, delta.signature)

    async def run(self, calls: Sequence[ToolCallDelta]) -> AsyncGenerator[ToolResultDelta, None]:
        """A result for each call, as they come. Closing or cancelling this cancels those that still run."""
        tasks = {
            asyncio.ensure_future(self._run_one(call, is_over=at >= CALLS_PER_ROUND)) for at, call in enumerate(calls)
        }
        try:
            for next_one in asyncio.as_completed(tasks):
                result = await next_one
                text = cut_result(result.text, min(RESULT_BYTES, self._left_bytes))
                self._left_bytes = max(0, self._left_bytes - len(text.encode("utf-8", "replace")))
                yield msgspec.structs.replace(result, text=text)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _run_one(self, call: ToolCallDelta, *, is_over: bool) -> ToolResultDelta:
        outcome = await self._outcome(call, is_over=is_over)
        return ToolResultDelta(call.call_id, outcome.text, outcome.is_error)

    async def _outcome(self, call: ToolCallDelta, *, is_over: bool) -> ToolOutcome:
        tool = self._tools.get(call.name)
        if tool is None:
            return ToolOutcome(f"There is no tool named {call.name[:100]} here.", True)
        if is_over:
            return ToolOutcome(f"Not carried out: at most {CALLS_PER_ROUND} calls are done at once.", True)
        arguments = read_arguments(call.arguments)
        if arguments is None:
            return ToolOutcome("The arguments are not a JSON object.", True)
        if call.asks:
            said = await self._tooling.consents.wait(self._turn, call.call_id)
            if said == "always":
                self._allowed.add(call.name)
            if said not in ALLOWED:
                text = "Nobody allowed this call in time." if said == "expired" else "The person declined this call."
                return ToolOutcome(f"{text} Go on without it.", True)
        async with self._places:
            return await self._call(tool, arguments)

    async def _call(self, tool: Tool, arguments: dict[str, Any]) -> ToolOutcome:
        try:
            async with asyncio.timeout(self._tooling.call_s):
                return await tool.call(arguments, self._use)
        except TimeoutError:
            return ToolOutcome(f"The tool took longer than {self._tooling.call_s:g} seconds and was given up.", True)
        except ChatserverError as failure:
            return ToolOutcome(failure.message, True)
        except Exception:  # a tool is a plugin's: its fault harms this call only
            log.exception("tool_failed", tool=tool.spec.name, turn=self._turn.id)
            return ToolOutcome("The tool failed.", True)


def result_budget_bytes(model: Model) -> int:
    """What all results of one turn may be: half of what the model reads, or a small model's chat could not go on."""
    return min(TURN_RESULT_BYTES, window_budget(model) * BYTES_PER_TOKEN // 2)


def read_arguments(text: str) -> dict[str, Any] | None:
    try:
        found = msgspec.json.decode(text or "{}")
    except (msgspec.DecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
