"""A tool is something done for a model in the middle of its turn: how it is offered, wanted, allowed and answered."""

from __future__ import annotations

from collections.abc import Container
from typing import Any, Literal, Protocol

import msgspec

from chatserver.domain.access import Account, Origin
from chatserver.domain.extend import ToolSpec

ROUNDS = 16
"""How often a model is asked within one turn. What it wants after the last is not done."""
CALL_S = 30.0
CALLS_PER_ROUND = 16
CALLS_AT_ONCE = 8
RESULT_BYTES = 64_000
TURN_RESULT_BYTES = 1_000_000
"""What all results of one turn may be in sum: they are kept, shown, and sent again with every later question."""
CONSENT_S = 600.0

ConsentAnswer = Literal["once", "always", "declined", "expired"]
"""What a person said to a call that asked; always: to this tool in this chat. expired: nobody said anything."""

_ID_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
_ID_LENGTH = 64


class ToolUse(msgspec.Struct, frozen=True):
    """In whose name and for which turn a tool is offered or called. fields: what the sender handed to plugins.
    is_tainted: the turn was given passages that nobody here vouches for."""

    account: Account
    origin: Origin
    conversation_id: str
    turn_id: str
    model: str
    fields: dict[str, msgspec.Raw] = {}
    labels: dict[str, str] = {}
    is_tainted: bool = False


class ToolOutcome(msgspec.Struct, frozen=True):
    """What a tool answers: text the model reads, trusted by nobody. is_error: it did not do what was asked."""

    text: str
    is_error: bool = False


class Tool(Protocol):
    """Something a model may have done. needs_consent: it acts outward, so a person is asked before each call.

    call: arguments are the JSON object the model wrote, checked by nobody. It is cancelled after CALL_S and on Stop;
    an exception is an error the model is told of, without its words.
    """

    @property
    def spec(self) -> ToolSpec: ...
    @property
    def needs_consent(self) -> bool: ...
    async def call(self, arguments: dict[str, Any], use: ToolUse) -> ToolOutcome: ...


def distinct_id(wanted: str, taken: Container[str]) -> str:
    """An id for a call: the upstream's own where it is plain and new in its turn, which not every upstream's is."""
    plain = "".join(character for character in wanted if character in _ID_CHARACTERS)[:_ID_LENGTH]
    if plain == wanted and plain and plain not in taken:
        return plain
    number = 1
    while (name := f"{plain[: _ID_LENGTH - 6] or 'call'}-{number}") in taken:
        number += 1
    return name


def cut_result(text: str, limit_bytes: int) -> str:
    """A result no longer than the limit; what was cut off is told in its place."""
    body = text.encode("utf-8", "replace")
    if len(body) <= limit_bytes:
        return text
    kept = body[: max(0, limit_bytes)].decode("utf-8", "ignore")
    return f"{kept}\n[{len(body) - len(kept.encode())} more bytes were left out.]"
