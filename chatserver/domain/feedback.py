"""What a person thinks of a reply: good or bad, why, in a few words or in their own."""

from __future__ import annotations

from typing import Literal

import msgspec

Verdict = Literal["good", "bad"]
TAGS: dict[Verdict, tuple[str, ...]] = {
    "good": ("correct", "clear", "complete", "well_written"),
    "bad": ("wrong", "incomplete", "off_topic", "not_followed", "too_long", "harmful"),
}
REASON_LIMIT = 2_000
"""Characters."""


class Feedback(msgspec.Struct, frozen=True, omit_defaults=True):
    """value: the verdict. tags: of those its value has. reason: in the person's words; changed_at in microseconds."""

    value: Verdict
    tags: tuple[str, ...] = ()
    reason: str = ""
    changed_at: int = 0
