"""A call is one metered request to a model; usage is quantities, never money."""

from __future__ import annotations

from typing import Literal

import msgspec

from chatserver.domain.access import Origin

CallKind = Literal["chat", "title", "embedding", "speech", "transcription", "image", "rerank", "probe"]
CallState = Literal["running", "done", "stopped", "interrupted", "failed"]


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Disjoint meters: their sum counts nothing twice. Tokens but for `characters`, `seconds_ms`, `images`, `calls`.

    `input` excludes `cached` and `cache_write`; `output` excludes `reasoning`. estimated: at least one figure is our
    own guess because the upstream gave none.
    """

    input: int = 0
    cached: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0
    characters: int = 0
    seconds_ms: int = 0
    images: int = 0
    calls: int = 0
    outcomes: int = 0
    estimated: bool = False

    def __add__(self, other: Usage) -> Usage:
        sums = {name: getattr(self, name) + getattr(other, name) for name in _METERS}
        return Usage(**sums, estimated=self.estimated or other.estimated)

    @property
    def tokens(self) -> int:
        return self.input + self.cached + self.cache_write + self.output + self.reasoning


_METERS = tuple(name for name in Usage.__struct_fields__ if name != "estimated")


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """One try on one channel, kept on the call so that a turn can tell what happened."""

    channel: str
    outcome: str
    started_at: int
    ended_at: int
    message: str = ""


class Call(msgspec.Struct, frozen=True):
    """`id` is made before admission and is the id of any hold placed on it. node: who makes it, when no turn says."""

    id: str
    account_id: str
    kind: CallKind
    origin: Origin
    model: str
    state: CallState
    started_at: int
    turn_id: str | None = None
    channel: str = ""
    first_token_at: int | None = None
    ended_at: int | None = None
    usage: Usage = Usage()
    attempts: tuple[Attempt, ...] = ()
    labels: dict[str, str] = {}
    node: str = ""


_CJK_RANGES = ((0x2E80, 0x9FFF), (0xAC00, 0xD7AF), (0xF900, 0xFAFF), (0xFF00, 0xFFEF), (0x20000, 0x3FFFF))


def estimate_tokens(text: str, factor: float = 1.0) -> int:
    """Tokens of a text, guessed by script: about 4 characters a token, 1 for CJK. factor: the model's correction."""
    wide = 0
    if not text.isascii():
        for character in text:
            point = ord(character)
            if point >= 0x2E80 and any(low <= point <= high for low, high in _CJK_RANGES):
                wide += 1
    return int((wide + (len(text) - wide) / 4) * factor) + 1 if text else 0
