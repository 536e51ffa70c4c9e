"""What an answer says: decoded chunks become deltas, pieces of tool calls become whole ones, meters become disjoint."""

from __future__ import annotations

from typing import Any

import msgspec

from chatserver import Finish, ProviderDelta, ReasoningDelta, TextDelta, ToolCallDelta, Usage, UsageReport

MAX_TOOL_CALLS = 128
_FINISH = {
    "stop": "stop",
    "end_turn": "stop",
    "eos": "stop",
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content",
}


class Function(msgspec.Struct):
    name: str | None = None
    arguments: Any = None


class ToolCall(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: Function | None = None


class Delta(msgspec.Struct):
    """A piece of an answer, or all of it. content may be text, or a list of typed pieces."""

    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None


class Choice(msgspec.Struct):
    index: int = 0
    delta: Delta | None = None
    message: Delta | None = None
    finish_reason: str | None = None
    usage: msgspec.Raw = msgspec.Raw()


class Chunk(msgspec.Struct):
    """One event of a stream, or a whole answer: the two differ only in where the choice keeps its delta."""

    choices: list[Choice] | None = None
    usage: msgspec.Raw = msgspec.Raw()
    error: Any = None


class PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_creation_tokens: int | None = None


class CompletionDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class Meters(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None
    prompt_cache_hit_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None


decode_chunk = msgspec.json.Decoder(Chunk, strict=False).decode
_decode_meters = msgspec.json.Decoder(Meters, strict=False).decode


class Answer:
    """Collects an answer. `take` gives what can be shown at once; `close` what is known only at the end."""

    __slots__ = ("_calls", "_usage", "finish")

    def __init__(self) -> None:
        self._calls: dict[int, list[Any]] = {}
        self._usage: msgspec.Raw | None = None
        self.finish = ""

    def take(self, chunk: Chunk, deltas: list[ProviderDelta]) -> None:
        """Append the deltas of a chunk, joined to the last one when it is of the same kind."""
        if chunk.usage:
            self._usage = chunk.usage
        for choice in chunk.choices or ():
            if choice.index:
                continue
            if choice.usage:
                self._usage = choice.usage
            delta = choice.delta or choice.message
            if delta is not None:
                thought = delta.reasoning_content or delta.reasoning
                if thought:
                    _say(deltas, ReasoningDelta, plain_text(thought))
                content = delta.content or delta.refusal
                if content:
                    if isinstance(content, str):
                        _say(deltas, TextDelta, content)
                    else:
                        _say(deltas, ReasoningDelta, plain_text(content, "thinking"))
                        _say(deltas, TextDelta, plain_text(content))
                if delta.tool_calls:
                    self._collect(delta.tool_calls)
            if choice.finish_reason:
                self.finish = choice.finish_reason

    def close(self) -> list[ProviderDelta]:
        """Whole tool calls, usage, and the finish."""
        deltas: list[ProviderDelta] = []
        for index in sorted(self._calls):
            call_id, name, pieces = self._calls[index]
            deltas.append(ToolCallDelta(call_id or f"call_{index}", name, "".join(pieces) or "{}"))
        usage = read_usage(self._usage)
        if usage is not None:
            deltas.append(UsageReport(usage))
        reason = _FINISH.get(self.finish.lower(), "stop")
        deltas.append(Finish("tool_calls" if self._calls and reason == "stop" else reason))
        return deltas

    def _collect(self, calls: list[ToolCall]) -> None:
        for position, call in enumerate(calls):
            index = call.index
            if index is None:
                # Without an index a new id begins a new call, and anything else goes on with the last one.
                known = next((key for key, kept in self._calls.items() if call.id and kept[0] == call.id), None)
                if known is not None:
                    index = known
                elif call.id or not self._calls:
                    index = max(self._calls, default=-1) + 1
                else:
                    index = max(self._calls) if len(calls) == 1 else position
            kept = self._calls.get(index)
            if kept is None:
                if len(self._calls) >= MAX_TOOL_CALLS:
                    continue
                kept = self._calls[index] = ["", "", []]
            kept[0] = call.id or kept[0]
            if call.function is not None:
                kept[1] = kept[1] or call.function.name or ""
                arguments = call.function.arguments
                if isinstance(arguments, str):
                    kept[2].append(arguments)
                elif arguments is not None:
                    kept[2].append(msgspec.json.encode(arguments).decode())


def _say(deltas: list[ProviderDelta], kind: type[TextDelta] | type[ReasoningDelta], text: str) -> None:
    if not text:
        return
    last = deltas[-1] if deltas else None
    if type(last) is kind:
        deltas[-1] = kind(last.text + text)
    else:
        deltas.append(kind(text))


def plain_text(content: Any, wanted: str = "text") -> str:
    """The text of what is either a text or a list of pieces `{"type": "text", "text": …}`."""
    if isinstance(content, str):
        return content if wanted == "text" else ""
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        return ""
    pieces = []
    for piece in content:
        if isinstance(piece, dict) and piece.get("type", "text") == wanted:
            value = piece.get(wanted) or piece.get("content") or ""
            pieces.append(value if isinstance(value, str) else plain_text(value))
    return "".join(pieces)


def read_usage(raw: msgspec.Raw | None) -> Usage | None:
    """The upstream's count with nothing counted twice; None when it gave none.

    Most upstreams count reasoning within the completion, some beside it: the total tells which.
    """
    if not raw:
        return None
    try:
        meters = _decode_meters(raw)
    except msgspec.DecodeError:
        return None
    prompt = meters.prompt_tokens or 0
    completion = meters.completion_tokens or 0
    if prompt <= 0 and completion <= 0:
        return None
    details = meters.prompt_tokens_details or PromptDetails()
    cached = details.cached_tokens or meters.prompt_cache_hit_tokens or meters.cache_read_input_tokens or 0
    written = details.cache_write_tokens or details.cache_creation_tokens or meters.cache_creation_input_tokens or 0
    cached = max(0, min(cached, prompt))
    written = max(0, min(written, prompt - cached))
    reasoning = max(0, (meters.completion_tokens_details or CompletionDetails()).reasoning_tokens or 0)
    is_beside = reasoning > completion or (reasoning > 0 and meters.total_tokens == prompt + completion + reasoning)
    return Usage(
        input=prompt - cached - written,
        cached=cached,
        cache_write=written,
        output=completion if is_beside else completion - reasoning,
        reasoning=reasoning,
    )
