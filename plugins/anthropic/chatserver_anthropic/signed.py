"""Signed thoughts: what a model thought before a tool call, kept with the call, and given back as it was."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

PREFIX = "anthropic:"


class Thinking(msgspec.Struct, frozen=True, tag="thinking", tag_field="type"):
    thinking: str
    signature: str


class Redacted(msgspec.Struct, frozen=True, tag="redacted_thinking", tag_field="type"):
    data: str


class Text(msgspec.Struct, frozen=True, tag="text", tag_field="type"):
    """Said between two thoughts: their order is part of what is signed."""

    text: str


Block = Thinking | Redacted | Text
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(tuple[Block, ...]).decode


def seal(blocks: Sequence[Block]) -> str:
    """What was thought and said before a call, '' when nothing was thought. What was only said after all thoughts is
    in the reply anyway, and left out."""
    thoughts = [at for at, block in enumerate(blocks) if not isinstance(block, Text)]
    if not thoughts:
        return ""
    kept = blocks[: thoughts[-1] + 1]
    if any(isinstance(block, Text) for block in kept):
        kept = blocks
    return PREFIX + _encode(kept).decode()


def unseal(signature: str) -> tuple[Block, ...]:
    """Empty for what another provider signed, or nobody did."""
    if not signature.startswith(PREFIX):
        return ()
    try:
        return _decode(signature.removeprefix(PREFIX).encode())
    except msgspec.MsgspecError:
        return ()
