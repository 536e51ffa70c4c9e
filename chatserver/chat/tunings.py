"""Change what a person set for one chat: checked before anything is written, one value at a time."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from chatserver.domain.tuning import (
    EFFORTS,
    HIGHEST_TEMPERATURE,
    MOST_OUTPUT_TOKENS,
    SYSTEM_PROMPT_LIMIT,
    Parameters,
    Tuning,
)
from chatserver.errors import BadInput


class TuningChange(msgspec.Struct, frozen=True):
    """Only what is given changes. None leaves a parameter to the model again; an empty system prompt is none."""

    system_prompt: str | UnsetType = UNSET
    temperature: float | UnsetType | None = UNSET
    max_output: int | UnsetType | None = UNSET
    reasoning_effort: str | UnsetType | None = UNSET


def change_tuning(tuning: Tuning, change: TuningChange) -> Tuning:
    """What is set afterwards. Raises BadInput with what would do instead."""
    check_change(change)
    given = {name: getattr(change, name) for name in Parameters.__struct_fields__}
    nothing = {"temperature": None, "max_output": 0, "reasoning_effort": ""}
    changes = {name: nothing[name] if value is None else value for name, value in given.items() if value is not UNSET}
    prompt = tuning.system_prompt if change.system_prompt is UNSET else change.system_prompt.strip()
    return Tuning(prompt, msgspec.structs.replace(tuning.parameters, **changes))


def check_change(change: TuningChange) -> None:
    """Raises BadInput with what would do instead."""
    if change.system_prompt is not UNSET:
        _check_prompt(change.system_prompt)
    temperature, max_output, effort = change.temperature, change.max_output, change.reasoning_effort
    if temperature is not UNSET and temperature is not None and not 0 <= temperature <= HIGHEST_TEMPERATURE:
        raise BadInput(
            "A temperature is a number from 0 to %(most)s.",
            code="bad_temperature",
            status=422,
            values={"most": f"{HIGHEST_TEMPERATURE:g}"},
        )
    if max_output is not UNSET and max_output is not None and not 1 <= max_output <= MOST_OUTPUT_TOKENS:
        raise BadInput(
            "The longest answer is a whole number of tokens from 1 to %(most)s.",
            values={"most": MOST_OUTPUT_TOKENS},
            code="bad_max_output",
            status=422,
        )
    if effort is not UNSET and effort is not None and effort not in EFFORTS:
        raise BadInput(
            "A reasoning effort is one of %(efforts)s.",
            values={"efforts": ", ".join(EFFORTS)},
            code="bad_reasoning_effort",
            status=422,
        )


def _check_prompt(text: str) -> None:
    if len(text) > SYSTEM_PROMPT_LIMIT:
        raise BadInput(
            "A system prompt may have %(most)s characters. Shorten it.",
            values={"most": SYSTEM_PROMPT_LIMIT},
            code="system_prompt_too_long",
            status=422,
        )
    try:
        clean = "\x00" not in text and text.encode("utf-8") is not None
    except UnicodeEncodeError:
        clean = False
    if not clean:
        raise BadInput(
            "The system prompt holds characters that cannot be stored. Remove them.", code="bad_text", status=422
        )
