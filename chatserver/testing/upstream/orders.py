"""What a fake upstream is told to do: options in a name, rules, rounds of tools."""

from __future__ import annotations

import re
from typing import Any

import msgspec

_OPTION = re.compile(r"([a-z]+)(\d*)$")


class ToolAsk(msgspec.Struct, frozen=True):
    """A call that a model of `FakeUpstream.tool_rounds` asks for. There each model has a list of rounds, each a list of
    calls: it asks for those of the round it is in, told by the calls since the last question, and then it answers."""

    name: str
    arguments: str = "{}"
    id: str = "call_1"


class Rule(msgspec.Struct, frozen=True):
    """Options added to the requests that carry this key and name this model; `*` is any. answer: what is said."""

    key: str = "*"
    model: str = "*"
    options: str = ""
    answer: str = ""


class Control(msgspec.Struct):
    """The body of POST /control; what is absent stays."""

    rules: list[Rule] | None = None
    models: list[dict[str, Any]] | None = None


def parse_options(text: str) -> dict[str, int]:
    """`fake-n20-cut5` -> {"n": 20, "cut": 5}; an option without a number is 1. Words that are no option do nothing."""
    options: dict[str, int] = {}
    for word in text.split("-"):
        match = _OPTION.match(word)
        if match:
            options[match[1]] = int(match[2]) if match[2] else 1
    return options
