"""A turn is one request for one reply; it ends once, in exactly one of four ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from chatserver.domain.access import Origin
from chatserver.domain.calls import Attempt, Usage
from chatserver.domain.messages import Parts, ReasoningPart, TextPart, ToolCallPart, ToolResultPart

TurnState = Literal["running", "done", "stopped", "interrupted", "failed"]
ENDED: tuple[TurnState, ...] = ("done", "stopped", "interrupted", "failed")
FOREIGN_END_OFFSET = 1_000_000
"""Who ends a turn it did not run numbers its events last stored + this, so that a reader who saw more is told."""


class TurnError(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a turn failed, for the person: a stable code and a sentence with the next step."""

    code: str
    message: str


class Turn(msgspec.Struct, frozen=True):
    """`last_seq` is the highest stored event number. `left_out` counts messages that did not fit the model's window."""

    id: str
    conversation_id: str
    account_id: str
    question_id: str | None
    reply_id: str
    state: TurnState
    model: str
    origin: Origin
    created_at: int
    lease_owner: str
    lease_epoch: int
    lease_until: int
    last_seq: int = 0
    ended_at: int | None = None
    first_token_at: int | None = None
    error: TurnError | None = None
    usage: Usage = Usage()
    attempts: tuple[Attempt, ...] = ()
    left_out: int = 0
    labels: dict[str, str] = {}
    parameters: dict[str, msgspec.Raw] = {}


class TextDelta(msgspec.Struct, frozen=True, tag="text", tag_field="type"):
    text: str


class ReasoningDelta(msgspec.Struct, frozen=True, tag="reasoning", tag_field="type"):
    text: str


class ToolCallDelta(msgspec.Struct, frozen=True, tag="tool_call", tag_field="type", omit_defaults=True):
    """A whole tool call: providers assemble the pieces before they hand it over. asks: it waits for a person's word.
    signature: as in a ToolCallPart, for the provider that made it."""

    call_id: str
    name: str
    arguments: str
    asks: bool = False
    signature: str = ""


class ToolResultDelta(msgspec.Struct, frozen=True, tag="tool_result", tag_field="type", omit_defaults=True):
    call_id: str
    text: str
    is_error: bool = False


class ResetDelta(msgspec.Struct, frozen=True, tag="reset", tag_field="type"):
    """The stored truth a reader must show instead of all it saw so far."""

    text: str
    reasoning: str


class EndDelta(msgspec.Struct, frozen=True, tag="end", tag_field="type"):
    state: TurnState
    usage: Usage
    error: TurnError | None


Delta = TextDelta | ReasoningDelta | ToolCallDelta | ToolResultDelta | ResetDelta | EndDelta

PIECE_DELTAS = 256
PIECE_CHARACTERS = 64_000

encode_deltas = msgspec.json.Encoder().encode
decode_deltas = msgspec.json.Decoder(tuple[Delta, ...]).decode


def piece_end(deltas: Sequence[Delta], start: int) -> int:
    """Where the piece that begins at `start` ends: what is held, written or stored at once, however much there is."""
    last = min(len(deltas), start + PIECE_DELTAS)
    if last - start < 2:
        return last
    size = 0
    for place in range(start, last):
        size += len(getattr(deltas[place], "text", ""))
        if size > PIECE_CHARACTERS and place > start:
            return place
    return last


def assemble_parts(deltas: list[Delta] | tuple[Delta, ...]) -> Parts:
    """The parts a reply is sealed with, from all its deltas in order: neighbouring text joined, reasoning joined."""
    parts: list[TextPart | ReasoningPart | ToolCallPart | ToolResultPart] = []
    kind = ""
    pieces: list[str] = []

    def flush() -> None:
        nonlocal pieces, kind
        if pieces:
            joined = "".join(pieces)
            parts.append(TextPart(joined) if kind == "text" else ReasoningPart(joined))
        pieces, kind = [], ""

    for delta in deltas:
        if isinstance(delta, (TextDelta, ReasoningDelta)):
            now = "text" if isinstance(delta, TextDelta) else "reasoning"
            if now != kind:
                flush()
                kind = now
            pieces.append(delta.text)
        elif isinstance(delta, ToolCallDelta):
            flush()
            parts.append(ToolCallPart(delta.call_id, delta.name, delta.arguments, delta.signature))
        elif isinstance(delta, ToolResultDelta):
            flush()
            parts.append(ToolResultPart(delta.call_id, delta.text, delta.is_error))
    flush()
    return tuple(parts)
