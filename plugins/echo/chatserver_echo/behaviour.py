"""What a model's name asks for: a word, then options joined by dashes, each a word with or without a number."""

from __future__ import annotations

import re

import msgspec

_OPTION = re.compile(r"([a-z]+)(\d*)")
NUMBERS = {
    "n": "tokens",
    "wait": "wait_ms",
    "gap": "gap_ms",
    "think": "think_tokens",
    "window": "window_tokens",
    "cached": "cached_tokens",
    "err": "error_status",
    "retry": "retry_after_s",
    "p": "fault_percent",
    "cut": "cut_after",
    "stall": "stall_after",
}
FLAGS = {"nousage": "tells_no_usage", "tool": "calls_tool", "length": "ends_for_length", "hang": "hangs"}


class Behaviour(msgspec.Struct, frozen=True):
    """tokens None: the question is said again. A fault hits fault_percent of the questions, always the same ones."""

    tokens: int | None = None
    wait_ms: int = 0
    gap_ms: int = 0
    think_tokens: int = 0
    window_tokens: int = 32_000
    cached_tokens: int = 0
    error_status: int = 0
    retry_after_s: int | None = None
    fault_percent: int = 100
    cut_after: int | None = None
    stall_after: int | None = None
    tells_no_usage: bool = False
    calls_tool: bool = False
    ends_for_length: bool = False
    hangs: bool = False


def read_behaviour(name: str) -> Behaviour:
    """An option nobody knows asks for nothing."""
    asked: dict[str, object] = {}
    for option in name.split("-")[1:]:
        found = _OPTION.fullmatch(option)
        if found is None:
            continue
        word, number = found.groups()
        if word in NUMBERS and number:
            asked[NUMBERS[word]] = int(number)
        elif word in FLAGS and not number:
            asked[FLAGS[word]] = True
    return msgspec.convert(asked, Behaviour)
