"""What an answer says: chunks become deltas, thoughts stay apart, what safety stops is told from what ended."""

from __future__ import annotations

from typing import Any

import msgspec

from chatserver import (
    Channel,
    Finish,
    ProviderDelta,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    UpstreamError,
    Usage,
    UsageReport,
    clock,
)
from chatserver.upstreams import failure, kind_of, unreadable
from chatserver_gemini.question import SIGNED
from chatserver_gemini.refusal import read_refusal, refused

MAX_TOOL_CALLS = 128
_FINISH = {"STOP": "stop", "MAX_TOKENS": "length"}
_STOPPED = {
    "SAFETY",
    "RECITATION",
    "LANGUAGE",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_RECITATION",
}
_BROKEN = {"MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MALFORMED_RESPONSE"}


class FunctionCall(msgspec.Struct, rename="camel"):
    name: str = ""
    args: dict[str, Any] | None = None
    id: str | None = None


class Part(msgspec.Struct, rename="camel"):
    text: str | None = None
    thought: bool = False
    thought_signature: str | None = None
    function_call: FunctionCall | None = None


class Content(msgspec.Struct):
    parts: list[Part] | None = None


class Candidate(msgspec.Struct, rename="camel"):
    index: int = 0
    content: Content | None = None
    finish_reason: str | None = None


class Feedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None


class Meters(msgspec.Struct, rename="camel"):
    """As told: the prompt with what of it was cached, the candidates without the thoughts."""

    prompt_token_count: int | None = None
    cached_content_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None


class Chunk(msgspec.Struct, rename="camel"):
    """One event of a stream, or a whole answer: they have one form."""

    candidates: list[Candidate] | None = None
    prompt_feedback: Feedback | None = None
    usage_metadata: Meters | None = None
    error: Any = None


decode_chunk = msgspec.json.Decoder(Chunk, strict=False).decode


class Answer:
    """Implements `chatserver.upstreams.Answer`. secrets: what an error may not repeat."""

    def __init__(self, channel: Channel, secrets: tuple[str, ...]) -> None:
        self._channel = channel
        self._secrets = secrets
        self._calls = 0
        self._has_spoken = False
        self._usage: Usage | None = None
        self.finish = ""

    def take(self, event: bytes, deltas: list[ProviderDelta]) -> bool:
        try:
            chunk = decode_chunk(event)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise unreadable(self._channel.name) from None
        self._take(chunk, deltas)
        return False

    def take_last(self, event: bytes, deltas: list[ProviderDelta]) -> bool:
        """The event the body ended in: half of one means the answer was cut, not that it is unreadable."""
        try:
            chunk = decode_chunk(event)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return False
        self._take(chunk, deltas)
        return False

    def take_whole(self, body: bytes, deltas: list[ProviderDelta]) -> None:
        try:
            chunk = decode_chunk(body)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise unreadable(self._channel.name, kind_of(body)) from None
        self._take(chunk, deltas)
        if not chunk.candidates:
            raise unreadable(self._channel.name, "an answer without content")
        self.finish = self.finish or "STOP"

    def close(self) -> list[ProviderDelta]:
        reason = "content" if self.finish in _STOPPED else _FINISH.get(self.finish, "stop")
        return [*self._report(), Finish("tool_calls" if self._calls and reason == "stop" else reason)]

    def _take(self, chunk: Chunk, deltas: list[ProviderDelta]) -> None:
        if chunk.error:
            status, error, wait_s = read_refusal(chunk.error)
            raise refused(self._channel, status or 500, error, wait_s, self._secrets)
        if chunk.usage_metadata is not None:
            self._usage = _usage(chunk.usage_metadata) or self._usage
        if chunk.prompt_feedback is not None and chunk.prompt_feedback.block_reason:
            deltas += self._report()
            raise self._declined()
        for candidate in chunk.candidates or ():
            if candidate.index:
                continue
            for part in (candidate.content.parts or ()) if candidate.content else ():
                self._say(part, deltas)
            if candidate.finish_reason:
                self._stop(candidate.finish_reason, deltas)

    def _say(self, part: Part, deltas: list[ProviderDelta]) -> None:
        if part.function_call is not None:
            if self._calls >= MAX_TOOL_CALLS:
                return
            call = part.function_call
            arguments = msgspec.json.encode(call.args or {}).decode()
            # Mostly it names none, and within a chat no two may be the same.
            call_id = call.id or f"call_{clock.new_id()}"
            signature = f"{SIGNED}{part.thought_signature}" if part.thought_signature else ""
            deltas.append(ToolCallDelta(call_id, call.name, arguments, signature=signature))
            self._calls += 1
            self._has_spoken = True
        elif part.text and part.thought:
            deltas.append(ReasoningDelta(part.text))
        elif part.text:
            deltas.append(TextDelta(part.text))
            self._has_spoken = True

    def _stop(self, reason: str, deltas: list[ProviderDelta]) -> None:
        self.finish = reason
        if reason in _BROKEN:
            deltas += self._report()
            raise UpstreamError(
                f"The model of the channel {self._channel.name} called a tool in a way nobody can read. Try again.",
                kind="server",
                retryable=True,
            )
        if reason in _STOPPED and not self._has_spoken:
            deltas += self._report()
            raise self._declined()

    def _declined(self) -> UpstreamError:
        _, error, _ = read_refusal({"status": "content_policy"})
        return failure(self._channel.name, 400, error)

    def _report(self) -> list[ProviderDelta]:
        return [UsageReport(self._usage)] if self._usage is not None else []


def _usage(meters: Meters) -> Usage | None:
    prompt, cached = max(0, meters.prompt_token_count or 0), max(0, meters.cached_content_token_count or 0)
    output, thoughts = max(0, meters.candidates_token_count or 0), max(0, meters.thoughts_token_count or 0)
    if not prompt + output + thoughts:
        return None
    cached = min(cached, prompt)
    return Usage(
        input=prompt - cached + max(0, meters.tool_use_prompt_token_count or 0),
        cached=cached,
        output=output,
        reasoning=thoughts,
    )
